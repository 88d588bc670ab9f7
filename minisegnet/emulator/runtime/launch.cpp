// A launch from Python: its blocks are handed to the cores, and what it printed or died of is handed back.
#include "machine.h"

#include <algorithm>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>

#include "observer.h"

namespace emulator {

Launch::Launch(const Request& request)
    : request(request), blocks(uint64_t(request.grid[0]) * request.grid[1] * request.grid[2])
{
    if (request.schedule == FORWARD) return;
    order.resize(blocks);
    std::iota(order.begin(), order.end(), 0);
    if (request.schedule == REVERSE) {
        std::reverse(order.begin(), order.end());
    } else {
        std::shuffle(order.begin(), order.end(), std::mt19937_64(request.seed));
    }
}

bool Launch::next_block(uint64_t& number)
{
    if (interrupted()) stop("interrupted");
    if (stopped) return false;
    const uint64_t turn = taken++;
    if (turn >= blocks) return false;
    number = order.empty() ? turn : order[turn];
    return true;
}

void Launch::stop(std::string why)
{
    const std::lock_guard<std::mutex> hold(lock);
    if (!stopped) reason = std::move(why);
    stopped = true;
}

void Launch::print(const std::string& words)
{
    const std::lock_guard<std::mutex> hold(lock);
    printed += words;
}

// Blocks run on as many cores as there are blocks to share, and this thread is one of them.
void Launch::run()
{
    const CrashGuard guard;
    const int others = int(std::min<uint64_t>(request.processors, blocks)) - 1;
    side_by_side(others, [](void* launch) {
        thread_local std::unique_ptr<Multiprocessor> machine;    // a pointer: room for a library's own is scarce there
        if (!machine) machine = std::make_unique<Multiprocessor>();
        machine->run(*static_cast<Launch*>(launch));
    }, this);
}

std::string text(const char* format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    std::string result(size_t(std::max(0, std::vsnprintf(nullptr, 0, format, again))), '\0');
    va_end(again);
    std::vsnprintf(result.data(), result.size() + 1, format, arguments);
    return result;
}

std::string text(const char* format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    std::string result = text(format, arguments);
    va_end(arguments);
    return result;
}

// ------------------------------------------------------------------------------------------------ what a kernel calls

int print(const char* format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const std::string words = text(format, arguments);
    va_end(arguments);
    multiprocessor().launch->print(words);
    return int(words.size());
}

void fail(Place place, const char* format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const std::string what = text(format, arguments);
    va_end(arguments);
    multiprocessor().failed(what, place);
}

}  // namespace emulator

// ------------------------------------------------------------------------------------------------ what Python calls

static char* copy_of(const std::string& text) { return text.empty() ? nullptr : strdup(text.c_str()); }

// Runs the kernel. `reason` is why the launch was stopped, null if it ran to its end; `printed` what it printed, or null.
// Both are given back by emulator_free.
extern "C" __attribute__((visibility("default"))) void emulator_launch(const emulator::Request* request, char** reason,
                                                                       char** printed)
{
    emulator::Launch launch(*request);
    launch.run();
    *reason = copy_of(launch.reason);
    *printed = copy_of(launch.printed);
}

extern "C" __attribute__((visibility("default"))) void emulator_free(char* text) { std::free(text); }
