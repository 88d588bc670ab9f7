// The processor's threads that blocks are spread over: started when first needed, they wait between launches.
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "machine.h"

namespace emulator {

class Helpers {
public:
    // Calls work(subject) here, and on as many helpers as come while it runs here.
    void share(int wanted, void (*its_work)(void*), void* its_subject)
    {
        std::unique_lock<std::mutex> hold(lock);
        for (; started < wanted; started++) std::thread(&Helpers::help, this).detach();
        work = its_work;
        subject = its_subject;
        welcome = wanted;
        hold.unlock();
        work_is_there.notify_all();
        its_work(its_subject);
        hold.lock();
        welcome = 0;
        all_are_done.wait(hold, [this] { return working == 0; });
    }

private:
    void help()
    {
        std::unique_lock<std::mutex> hold(lock);
        for (;;) {
            work_is_there.wait(hold, [this] { return welcome > 0; });
            welcome--;
            working++;
            hold.unlock();
            work(subject);
            hold.lock();
            if (--working == 0) all_are_done.notify_one();
        }
    }

    std::mutex lock;
    std::condition_variable work_is_there, all_are_done;
    void (*work)(void*) = nullptr;
    void* subject = nullptr;
    int started = 0, welcome = 0, working = 0;
};

// One launch at a time has the helpers; another one meanwhile, from another thread of Python, does without. A process
// that was forked has none of its parent's threads and starts its own. They are never destroyed, as they never end.
void side_by_side(int others, void (*work)(void*), void* subject)
{
    static std::mutex* in_use = nullptr;
    static Helpers* helpers = nullptr;
    static pid_t owner = 0;
    if (others < 1) return work(subject);
    if (owner != getpid()) {
        in_use = new std::mutex;
        helpers = new Helpers;
        owner = getpid();
    }
    const std::unique_lock<std::mutex> hold(*in_use, std::try_to_lock);
    if (!hold) return work(subject);
    helpers->share(others, work, subject);
}

}  // namespace emulator
