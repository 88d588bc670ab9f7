// Check mode: what a warp's accesses cost: sectors of global memory, conflicts of banks, bytes moved and bytes used.
#pragma once
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "machine.h"

namespace emulator {

enum class Space : int32_t { global, shared };

// Of one place in the code. Its twin is in results.py.
struct Traffic {
    uint32_t site;
    int32_t space;                                               // a Space
    int32_t writes;                                              // 0: it reads
    int32_t atomic;
    int64_t array;                                               // the last one accessed there
    int64_t accesses;                                            // of single threads
    int64_t requests;                                            // of warps: what its lanes ask for together
    int64_t counted_accesses;                                    // in these requests
    int64_t bytes;                                               // asked for, each byte once in a request
    int64_t sectors;                                             // of 32 bytes, touched in global memory
    int64_t wavefronts, ideal_wavefronts;                        // rounds of shared memory, and without conflicts
};

// Lanes run one after another here, so what they ask for together is put together afterwards: the n-th time (since the last
// barrier) that each lane of a warp comes to a place counts as one request.
class Counters {
public:
    void clear();
    void begin_block(const Multiprocessor& machine);
    void count(const Thread& thread, uint32_t site, Space space, bool writes, bool atomic, int64_t array, int64_t offset,
               size_t bytes);
    void flush();                                                // all that was asked for up to here

    std::vector<Traffic> traffic;
    int64_t barriers = 0, warp_barriers = 0, meetings = 0, blocks = 0;

private:
    static constexpr unsigned MOST = 2048;                       // requests of a warp put together between two barriers
    struct Request {
        uint32_t present = 0, bytes = 0;
        int64_t offsets[32];
    };
    void add_up(Traffic& place, const Request& request);

    unsigned threads = 0, warps = 0;
    std::unordered_map<uint64_t, uint32_t> places;               // from site, space and direction to an index of traffic
    std::vector<std::vector<uint32_t>> times;                    // [place][thread]: since the last barrier
    std::vector<std::vector<std::vector<Request>>> pending;      // [place][warp]: by turn
};

}  // namespace emulator
