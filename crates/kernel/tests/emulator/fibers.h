// The threads of a block, as fibers of one thread of the host.

#pragma once

#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>
#include <vector>

namespace fibers {

constexpr int WARP = 32;
constexpr size_t STACK_BYTES = 256 << 10;

enum class State { Ready, AtBarrier, AtPost, Done };

struct Fiber {
    ucontext_t context;
    jmp_buf place;
    State state = State::Done;
    bool begun = false;
    int posts = 0;
};

// Words that the lanes of a warp left, twice: a lane may be one post ahead of another.
struct Warp {
    uint32_t words[2][WARP][8];
};

struct Block {
    std::vector<Fiber*> fibers;
    std::vector<Warp> warps;
    int running = -1;
    int count = 0;
    jmp_buf scheduler;
    void (*body)() = nullptr;
    void (*enter)(int) = nullptr;
};

static Block block;

static void suspend(State state) {
    Fiber* fiber = block.fibers[block.running];
    fiber->state = state;
    if (_setjmp(fiber->place) == 0) {
        _longjmp(block.scheduler, 1);
    }
}

// A fiber lives on and runs the body of one block after another.
static void live() {
    while (true) {
        block.body();
        suspend(State::Done);
    }
}

static void resume(int index) {
    Fiber* fiber = block.fibers[index];
    block.running = index;
    block.enter(index);
    if (_setjmp(block.scheduler) != 0) {
        return;
    }
    if (fiber->begun) {
        _longjmp(fiber->place, 1);
    }
    fiber->begun = true;
    setcontext(&fiber->context);
}

static void barrier() { suspend(State::AtBarrier); }

static const uint32_t* post(const uint32_t* words, int count) {
    int index = block.running;
    Warp& warp = block.warps[index / WARP];
    int turn = block.fibers[index]->posts++ % 2;
    memcpy(warp.words[turn][index % WARP], words, 4 * count);
    suspend(State::AtPost);
    return warp.words[turn][0];
}

// Lets go those of `first .. end` that wait alike, where all that are not done do.
static bool release(int first, int end, State waiting) {
    bool any = false;
    for (int i = first; i < end; ++i) {
        State state = block.fibers[i]->state;
        if (state != State::Done && state != waiting) {
            return false;
        }
        any = any || state == waiting;
    }
    for (int i = first; any && i < end; ++i) {
        if (block.fibers[i]->state == waiting) {
            block.fibers[i]->state = State::Ready;
        }
    }
    return any;
}

// Runs all threads of a block to their end, from the last to the first where `backwards`.
static void run(int count, void (*body)(), void (*enter)(int), bool backwards) {
    block.body = body;
    block.enter = enter;
    block.count = count;
    block.warps.resize((count + WARP - 1) / WARP);
    while ((int)block.fibers.size() < count) {
        Fiber* fiber = new Fiber;
        getcontext(&fiber->context);
        fiber->context.uc_stack.ss_sp = malloc(STACK_BYTES);
        fiber->context.uc_stack.ss_size = STACK_BYTES;
        fiber->context.uc_link = nullptr;
        makecontext(&fiber->context, live, 0);
        block.fibers.push_back(fiber);
    }
    for (int i = 0; i < count; ++i) {
        block.fibers[i]->state = State::Ready;
        block.fibers[i]->posts = 0;
    }
    while (true) {
        for (int i = 0; i < count; ++i) {
            int index = backwards ? count - 1 - i : i;
            if (block.fibers[index]->state == State::Ready) {
                resume(index);
            }
        }
        bool any = release(0, count, State::AtBarrier);
        for (int first = 0; first < count; first += WARP) {
            int end = first + WARP < count ? first + WARP : count;
            any = release(first, end, State::AtPost) || any;
        }
        if (!any) {
            break;
        }
    }
    for (int i = 0; i < count; ++i) {
        if (block.fibers[i]->state != State::Done) {
            fprintf(stderr, "emulator: thread %d waits for threads that have gone elsewhere\n", i);
            abort();
        }
    }
}

}  // namespace fibers
