// What check mode wants to hear from the machine. In fast mode nobody listens, and the calls are nothing.
#pragma once
#include "machine.h"

namespace emulator {

#ifdef EMULATOR_CHECK

void observe_block_begin(Multiprocessor& machine);
void observe_block_end();
void observe_thread_end(const Thread& thread);
void observe_barrier();                                                            // all go on
void observe_meeting(unsigned first_thread, unsigned present, bool orders_memory);
void observe_shared_array(const SharedArray& array, char* address, size_t bytes);
void observe_fence();
void observe_waiting(const Thread& thread, const char* name, Place place);
void observe_leaving(const Thread& thread, Place place);
void observe_copy_start(const Copy& copy);
void observe_copy_end(const Copy& copy);

// A broken rule, seen at one or two places; no thread or place means that there is none to name.
void observe_fault(const char* kind, const std::string& what, const Thread* first, Place first_place,
                   const Thread* second, Place second_place);

#else

inline void observe_block_begin(Multiprocessor&) {}
inline void observe_block_end() {}
inline void observe_thread_end(const Thread&) {}
inline void observe_barrier() {}
inline void observe_meeting(unsigned, unsigned, bool) {}
inline void observe_shared_array(const SharedArray&, char*, size_t) {}
inline void observe_fence() {}
inline void observe_waiting(const Thread&, const char*, Place) {}
inline void observe_leaving(const Thread&, Place) {}
inline void observe_copy_start(const Copy&) {}
inline void observe_copy_end(const Copy&) {}
inline void observe_fault(const char*, const std::string&, const Thread*, Place, const Thread*, Place) {}

#endif

}  // namespace emulator
