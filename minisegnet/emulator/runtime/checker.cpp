// Check mode: the rules that every access of memory is held against.
#ifdef EMULATOR_CHECK
#include "checker.h"

#include <algorithm>
#include <cstring>

namespace emulator {

// A value that arrays hold where nothing has been written (see uninitialised.py): no kernel computes this NaN.
static constexpr uint32_t NEVER_WRITTEN = 0x7fedcafe;

Checker& checker()
{
    static Checker the_checker;
    return the_checker;
}

void Checker::begin(const Request& its_request, const Array* arguments, int count)
{
    request = &its_request;
    arrays.assign(arguments, arguments + count);
    shadows.clear();
    for (const Array& array : arrays) shadows.emplace_back(array.bytes);
    last_array = 0;
    sites.begin(reinterpret_cast<const void*>(request->kernel));
    order = {};
    findings.clear();
    counters.clear();
}

void Checker::add_shared(const SharedArray& array, char* address, size_t bytes)
{
    arrays.push_back({address, int64_t(bytes), int32_t(array.element_bytes), 0, &array});
    shadows.emplace_back(int64_t(bytes));
}

// ------------------------------------------------------------------------------------------------------- shadow memory

void Latest::add(const Stamp& stamp)
{
    if (last.time && last.thread != stamp.thread) (last.thread / 32 == stamp.thread / 32 ? same_warp : other_warp) = last;
    last = stamp;
}

void Shadow::refine(int64_t offset, size_t access_bytes)
{
    const int64_t needed = (offset | int64_t(access_bytes)) & -(offset | int64_t(access_bytes));     // largest power of two
    if (needed >= cell_bytes) return;                                                               // that divides both
    const int64_t parts = cell_bytes / needed;
    std::vector<Cell> finer;
    finer.reserve(cells.size() * size_t(parts));
    for (const Cell& cell : cells) finer.insert(finer.end(), size_t(parts), cell);
    cells = std::move(finer);
    cell_bytes = needed;
}

// ----------------------------------------------------------------------------------------------------------- the rules

void Checker::access(const Thread& thread, const void* address, size_t bytes, Access access, uint32_t site, bool aligned)
{
    const int64_t index = array_at(address);
    if (index < 0 && sites.in_library(address)) return;
    if (index < 0 || static_cast<const char*>(address) + bytes > arrays[size_t(index)].address + arrays[size_t(index)].bytes)
        outside(thread, address, bytes, access, site);
    const Array& array = arrays[size_t(index)];
    const int64_t offset = static_cast<const char*>(address) - array.address;
    const bool shared = array.shared != nullptr, reads = access == Access::read || access == Access::atomic;
    const auto tell = [&](const char* kind, const Witness& before) {
        add(kind, "", before, witness(thread, site, int(access)), index, offset, int64_t(bytes));
    };
    if (aligned && reinterpret_cast<uintptr_t>(address) % bytes) {
        tell("misaligned", {});
        multiprocessor().stop("misaligned");
    }
    if (array.constant && access != Access::read) tell("write to const", {});
    counters.count(thread, site, shared ? Space::shared : Space::global, access != Access::read,
                   access == Access::atomic || access == Access::atomic_write, index,
                   offset + int64_t(reinterpret_cast<uintptr_t>(array.address) % 256), bytes);

    const StepKind step = access == Access::read ? StepKind::read
                          : access == Access::write ? StepKind::write : StepKind::atomic;
    follow(thread, {site, int32_t(step), 0, int32_t(bytes), index, offset, nullptr, 0, {}}, address);

    Shadow& shadow = shadows[size_t(index)];
    shadow.refine(offset, bytes);
    const Stamp now = order.stamp(thread, site);
    for (Cell *cell = shadow.begin(offset), *end = shadow.end(offset + int64_t(bytes)); cell < end; cell++) {
        if (cell->copy && order.of_this_block(cell->write)) {
            Witness copying = witness(cell->write, Access::write);
            copying.site = cell->copy;
            tell("missing wait", copying);
            continue;
        }
        if (reads) {
            const bool written = shared ? order.of_this_block(cell->write) || order.of_this_block(cell->atomics.last)
                                        : cell->write.time || cell->atomics.last.time;
            if (!written && shared) tell("uninitialised", {});
            if (!written && !shared && bytes >= 4 && shadow.cell_bytes == 4) {
                uint32_t value;
                std::memcpy(&value, array.address + (offset + 4 * (cell - shadow.begin(offset))), 4);
                if (value == NEVER_WRITTEN) tell("uninitialised", {});
            }
        }
        conflict(thread, cell->write, Access::write, access, site, index, offset, bytes);
        if (access == Access::read || access == Access::write)
            conflicts(thread, cell->atomics, Access::atomic, access, site, index, offset, bytes);
        if (access != Access::read) conflicts(thread, cell->reads, Access::read, access, site, index, offset, bytes);
        switch (access) {
        case Access::read: cell->reads.add(now); break;
        case Access::write: *cell = {now, {}, {}, 0}; break;
        default: cell->atomics.add(now);
        }
    }
    if (access == Access::atomic || access == Access::atomic_write) order.atomic(thread, address);
}

void Checker::conflicts(const Thread& thread, const Latest& before, Access its, Access mine, uint32_t site, int64_t array,
                        int64_t offset, size_t bytes)
{
    conflict(thread, before.last, its, mine, site, array, offset, bytes);
    conflict(thread, before.same_warp, its, mine, site, array, offset, bytes);
    conflict(thread, before.other_warp, its, mine, site, array, offset, bytes);
}

void Checker::conflict(const Thread& thread, const Stamp& before, Access its, Access mine, uint32_t site, int64_t array,
                       int64_t offset, size_t bytes)
{
    if (order.seen(before, thread)) return;
    if (arrays[size_t(array)].shared && !order.of_this_block(before)) return;
    add("race", "", witness(before, its), witness(thread, site, int(mine)), array, offset, int64_t(bytes));
}

// From the start of cp.async to its wait the place belongs to the copy. For the order it counts as a write of the thread
// that copies: when it begins (others may still read what was there), and again when it ends.
void Checker::copy_start(const Thread& thread, const Copy& copy)
{
    const uint32_t site = sites.of_place(copy.place);
    if (copy.source_bytes) access(thread, copy.from, size_t(copy.source_bytes), Access::read, site, false);
    const int64_t index = array_at(copy.to);
    if (index >= 0 && !arrays[size_t(index)].shared) {
        add("out of bounds", "cp.async copies into shared memory, and this is an argument",
            witness(thread, site, int(Access::write)), {}, index, static_cast<char*>(copy.to) - arrays[size_t(index)].address,
            copy.bytes);
        multiprocessor().stop("cp.async outside shared memory");
    }
    access(thread, copy.to, size_t(copy.bytes), Access::write, site, true);
    Shadow& shadow = shadows[size_t(array_at(copy.to))];
    const int64_t offset = static_cast<char*>(copy.to) - arrays[size_t(array_at(copy.to))].address;
    for (Cell *cell = shadow.begin(offset), *end = shadow.end(offset + copy.bytes); cell < end; cell++) cell->copy = site;
}

void Checker::copy_end(const Thread& thread, const Copy& copy)
{
    const uint32_t site = sites.of_place(copy.place);
    const int64_t index = array_at(copy.to), offset = static_cast<char*>(copy.to) - arrays[size_t(index)].address;
    Shadow& shadow = shadows[size_t(index)];
    for (Cell *cell = shadow.begin(offset), *end = shadow.end(offset + copy.bytes); cell < end; cell++) {
        if (cell->copy == site) cell->copy = 0;
        cell->write = order.stamp(thread, site);
    }
}

// ------------------------------------------------------------------------------------------------- where an address lies

int64_t Checker::array_at(const void* address)
{
    if (last_array < int64_t(arrays.size()) && arrays[size_t(last_array)].holds(address)) return last_array;
    for (size_t i = 0; i < arrays.size(); i++)
        if (arrays[i].holds(address)) return last_array = int64_t(i);
    return -1;
}

// Tells the nearest array, and ends the launch: what lies there belongs to somebody else.
void Checker::outside(const Thread& thread, const void* address, size_t bytes, Access access, uint32_t site)
{
    const char* place = static_cast<const char*>(address);
    int64_t nearest = -1, least = INT64_MAX;
    for (size_t i = 0; i < arrays.size(); i++) {
        const int64_t before = arrays[i].address - place, behind = place - (arrays[i].address + arrays[i].bytes);
        const int64_t below_zero = (int64_t(arrays[i].element_bytes) << 32) + before;     // as an index without a sign
        const int64_t distance = below_zero > 0 && below_zero < 1 << 20 ? 0 : std::max<int64_t>({before, behind, 0});
        if (distance < least) {
            least = distance;
            nearest = int64_t(i);
        }
    }
    const bool null = reinterpret_cast<uintptr_t>(address) < (1u << 20);
    const Witness mine = witness(thread, site, int(access));
    if (nearest < 0 || null || least > (int64_t(1) << 36)) {
        add("out of bounds", null ? "a null pointer" : "memory that is no argument and no shared array", {}, mine);
    } else {
        add("out of bounds", "", {}, mine, nearest, place - arrays[size_t(nearest)].address, int64_t(bytes));
    }
    multiprocessor().stop("out of bounds");
}

// ------------------------------------------------------------------------------------------------------------- findings

void Checker::add(const char* kind, const std::string& what, const Witness& first, const Witness& second, int64_t array,
                  int64_t offset, int64_t bytes)
{
    findings.add({kind, nullptr, first, second, array, offset, bytes, 0}, what);
}

Witness Checker::witness(const Thread& thread, uint32_t site, int access) const
{
    return {site, access, int64_t(multiprocessor().block_number), int64_t(thread.number)};
}

Witness Checker::witness(const Stamp& stamp, Access access) const
{
    return {stamp.site, int32_t(access), stamp.thread >> 10, int64_t(stamp.thread & 1023)};
}

void Checker::follow(const Thread& thread, Step step, const void* value)
{
    if (!trace.follows(multiprocessor(), thread)) return;
    step.thread = int32_t(thread.number);
    const bool written = step.kind == int32_t(StepKind::write) || step.kind == int32_t(StepKind::atomic);
    written ? trace.add_write(step, value) : trace.add(step, value);
}

void Checker::preempt()
{
    Multiprocessor& machine = multiprocessor();
    if (request->schedule == ADVERSARIAL || (request->schedule == RANDOM && machine.random_number() % 16 == 0))
        machine.let_others_go_on();
}

}  // namespace emulator
#endif
