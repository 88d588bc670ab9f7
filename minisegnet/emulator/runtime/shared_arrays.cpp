// Where a block has its shared arrays, and the copies of cp.async into them.
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "observer.h"

namespace emulator {

static constexpr size_t STATIC_LIMIT = 48 << 10, LIMIT = 227 << 10;      // in bytes, of the largest devices

// In check mode arrays lie so far apart that one does not run into the next, and on a boundary no better than was asked for.
#ifdef EMULATOR_CHECK
static constexpr size_t RESERVED = 64 << 20, DISTANCE = 1 << 20;
static size_t first_place(size_t used, size_t alignment)
{
    return (used + DISTANCE + 2 * alignment - 1) / (2 * alignment) * (2 * alignment) + alignment;
}
#else
static constexpr size_t RESERVED = 512 << 10, DISTANCE = 0;
static size_t first_place(size_t used, size_t) { return (used + 127) / 128 * 128; }
#endif
static constexpr size_t DYNAMIC_ALIGNMENT = 16;                          // of a dynamic array, whatever is asked for

void* Multiprocessor::shared_array(const SharedArray& array)
{
    for (const Placed& placed : shared_arrays)
        if (placed.array == &array) return placed.address;
    return place_shared(array, array.bytes);
}

// Whatever it is called, a block has one.
void* Multiprocessor::dynamic_shared_array(const SharedArray& array)
{
    if (!dynamic_array) dynamic_array = place_shared(array, launch->request.shared_bytes);
    return dynamic_array;
}

char* Multiprocessor::place_shared(const SharedArray& array, size_t bytes)
{
    if (!shared_memory) {
        void* memory = mmap(nullptr, RESERVED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) stop("there is no memory left for shared arrays");
        shared_memory = static_cast<char*>(memory);
    }
    size_t declared = array.bytes;                               // 0 of a dynamic one
    for (const Placed& placed : shared_arrays) declared += placed.array->bytes;
    if (declared > STATIC_LIMIT || declared + launch->request.shared_bytes > LIMIT)
        fault("shared memory",
              text("the kernel declares %zu bytes of shared arrays and is given %u more: a block has %zu, of which %zu may "
                   "be declared with their size", declared, launch->request.shared_bytes, LIMIT, STATIC_LIMIT),
              current, array.place);
    const size_t offset = first_place(shared_used, array.bytes ? array.alignment : std::max(array.alignment, DYNAMIC_ALIGNMENT));
    shared_used = offset + bytes;
    if (shared_used + DISTANCE > RESERVED) fault("shared memory", "the kernel has too many shared arrays", current, array.place);
    char* address = shared_memory + offset;
    shared_arrays.push_back({&array, address, bytes});
    if (launch->request.poison) std::memset(address, 0xff, bytes);
    observe_shared_array(array, address, bytes);
    return address;
}

// A new block finds nothing in them that it may rely on.
void Multiprocessor::clear_shared_arrays()
{
    if (launch->request.poison)
        for (const Placed& placed : shared_arrays) std::memset(placed.address, 0xff, placed.bytes);
}

// --------------------------------------------------------------------------------------------------------- cp.async

void Multiprocessor::copy_async(const Copy& copy)
{
    const auto misaligned = [&copy](const void* address) { return reinterpret_cast<uintptr_t>(address) % copy.bytes != 0; };
    if (misaligned(copy.to) || misaligned(copy.from))
        fault("misaligned", text("%s copies %d bytes %s an address that is no multiple of %d", name_of(*current).c_str(),
                                 copy.bytes, misaligned(copy.to) ? "to" : "from", copy.bytes), current, copy.place);
    if (copy.source_bytes < 0 || copy.source_bytes > copy.bytes)
        fault("out of bounds", text("%s asks cp.async for %d of %d bytes", name_of(*current).c_str(), copy.source_bytes,
                                    copy.bytes), current, copy.place);
    observe_copy_start(copy);
    if (launch->request.poison) std::memset(copy.to, 0xff, copy.bytes);
    current->copies.push_back(copy);
    current->copies.back().group = current->committed;
}

void Multiprocessor::commit_copies() { current->committed++; }

void Multiprocessor::wait_for_copies(int groups_left)
{
    auto& copies = current->copies;
    auto copy = copies.begin();
    for (; copy != copies.end() && copy->group < current->committed - groups_left; ++copy) {
        if (copy->source_bytes == 16) {
            std::memcpy(copy->to, copy->from, 16);
        } else {
            std::memcpy(copy->to, copy->from, copy->source_bytes);
            std::memset(static_cast<char*>(copy->to) + copy->source_bytes, 0, copy->bytes - copy->source_bytes);
        }
        observe_copy_end(*copy);
    }
    copies.erase(copies.begin(), copy);
}

// -------------------------------------------------------------------------------------------------- what a kernel calls

void* shared_array(const SharedArray& array) { return multiprocessor().shared_array(array); }
void* dynamic_shared_array(const SharedArray& array) { return multiprocessor().dynamic_shared_array(array); }
void copy_async(void* shared, const void* global, int bytes, int source_bytes, Place place)
{
    multiprocessor().copy_async({shared, global, bytes, source_bytes, 0, place});
}
void commit_copies() { multiprocessor().commit_copies(); }
void wait_for_copies(int groups_left) { multiprocessor().wait_for_copies(groups_left); }

}  // namespace emulator
