// Check mode: putting lanes' accesses together into requests of warps, and adding those up.
#ifdef EMULATOR_CHECK
#include "counters.h"

#include <algorithm>
#include <array>

namespace emulator {

void Counters::clear()
{
    traffic.clear();
    places.clear();
    times.clear();
    pending.clear();
    barriers = warp_barriers = meetings = blocks = 0;
}

void Counters::begin_block(const Multiprocessor& machine)
{
    blocks++;
    threads = machine.count;
    warps = (threads + 31) / 32;
}

void Counters::count(const Thread& thread, uint32_t site, Space space, bool writes, bool atomic, int64_t array,
                     int64_t offset, size_t bytes)
{
    const uint64_t key = uint64_t(site) << 3 | uint64_t(space) << 2 | uint64_t(writes) << 1 | uint64_t(atomic);
    const auto [entry, is_new] = places.try_emplace(key, uint32_t(traffic.size()));
    const uint32_t place = entry->second;
    if (is_new) {
        traffic.push_back({site, int32_t(space), writes, atomic, array, 0, 0, 0, 0, 0, 0, 0});
        times.emplace_back(threads, 0);
        pending.emplace_back(warps);
    }
    Traffic& its = traffic[place];
    its.accesses++;
    its.array = array;
    const unsigned turn = times[place][thread.number]++;
    if (turn >= MOST) return;
    auto& requests = pending[place][thread.warp()];
    if (requests.size() <= turn) requests.resize(turn + 1);
    Request& request = requests[turn];
    request.present |= 1u << thread.lane();
    request.bytes = uint32_t(bytes);
    request.offsets[thread.lane()] = offset;
}

void Counters::flush()
{
    for (size_t place = 0; place < traffic.size(); place++) {
        for (auto& requests : pending[place]) {
            for (const Request& request : requests) add_up(traffic[place], request);
            requests.clear();
        }
        std::fill(times[place].begin(), times[place].end(), 0);
    }
}

template <size_t most>
static int64_t distinct(std::array<int64_t, most>& numbers, size_t count)
{
    std::sort(numbers.begin(), numbers.begin() + count);
    return std::unique(numbers.begin(), numbers.begin() + count) - numbers.begin();
}

// Shared memory serves 32 words of 4 bytes in a round, one from each bank; lanes that want the same word share it. Lanes
// that want 8 or 16 bytes each are served in two or four groups, one after another.
static int64_t rounds(const int64_t* offsets, uint32_t present, uint32_t bytes, int64_t& ideal)
{
    const unsigned words = std::max(1u, bytes / 4), group = 32 / std::min(words, 4u);
    int64_t total = 0;
    for (unsigned first = 0; first < 32; first += group) {
        std::array<int64_t, 32 * 4> wanted;
        size_t count = 0;
        for (unsigned lane = first; lane < first + group; lane++)
            if (present >> lane & 1)
                for (unsigned word = 0; word < std::min(words, 4u); word++) wanted[count++] = offsets[lane] / 4 + word;
        const int64_t different = distinct(wanted, count);
        std::array<int64_t, 32> in_bank{};
        for (int64_t i = 0; i < different; i++) in_bank[size_t(wanted[size_t(i)]) % 32]++;
        total += *std::max_element(in_bank.begin(), in_bank.end());
        ideal += (different + 31) / 32;
    }
    return total;
}

void Counters::add_up(Traffic& place, const Request& request)
{
    if (!request.present) return;
    place.requests++;
    place.counted_accesses += __builtin_popcount(request.present);
    std::array<int64_t, 64> sectors;
    std::array<int64_t, 32> starts;
    size_t touched = 0, lanes = 0;
    for (unsigned lane = 0; lane < 32; lane++) {
        if (!(request.present >> lane & 1)) continue;
        starts[lanes++] = request.offsets[lane];
        sectors[touched++] = request.offsets[lane] / 32;
        sectors[touched++] = (request.offsets[lane] + request.bytes - 1) / 32;
    }
    place.bytes += distinct(starts, lanes) * request.bytes;
    if (place.space == int32_t(Space::global)) {
        place.sectors += distinct(sectors, touched);
        return;
    }
    place.wavefronts += rounds(request.offsets, request.present, request.bytes, place.ideal_wavefronts);
}

}  // namespace emulator
#endif
