// CUDA C as C++ of the host: what the kernels use, over fibers that stand for threads.
//
// The threads of a block are fibers that run one after another, each until it waits for others at
// a barrier or a shuffle. Nothing runs in lockstep, so a missing barrier reads what is not there
// yet. Put before a kernel's source by card.cpp.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

struct Index3 {
    unsigned x, y, z;
};

// What card.cpp gives to kernels.
struct Emulated {
    Index3 thread, block, block_size, grid_size;
    float* shared;
    void (*barrier)();
    // Leaves words of this lane and gives those of all lanes of its warp, 8 a lane.
    const uint32_t* (*post)(const uint32_t* words, int count);
};

extern "C" {
Emulated* emulated = nullptr;
}

#define EMULATED
#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(threads)
#define DYNAMIC_SHARED(name) float* name = emulated->shared

#define threadIdx (emulated->thread)
#define blockIdx (emulated->block)
#define blockDim (emulated->block_size)
#define gridDim (emulated->grid_size)

using std::max;
using std::min;

static inline void __syncthreads() { emulated->barrier(); }
static inline void __syncwarp() {
    uint32_t none = 0;
    emulated->post(&none, 1);
}

static inline float __int_as_float(int bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
static inline float __uint_as_float(uint32_t bits) { return __int_as_float((int)bits); }
static inline uint32_t __float_as_uint(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}

template <typename T>
static inline T __shfl_xor_sync(uint32_t, T x, int lane_mask) {
    uint32_t words[8] = {};
    memcpy(words, &x, sizeof(T));
    int lane = (threadIdx.y * blockDim.x + threadIdx.x) % 32;
    memcpy(&x, emulated->post(words, sizeof(T) / 4) + 8 * (lane ^ lane_mask), sizeof(T));
    return x;
}

static inline float bfloat16_half(uint32_t pair, int half) {
    return __uint_as_float(half ? pair & 0xffff0000u : pair << 16);
}

// mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32: a lane's registers as PTX's ISA has them.
static inline void emulated_multiply_tile(float (&d)[4], const uint32_t (&a)[4],
                                          const uint32_t (&b)[2]) {
    uint32_t words[8] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    const uint32_t* all = emulated->post(words, 6);
    int lane = threadIdx.x % 32;
    for (int i = 0; i < 4; ++i) {
        int row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
        for (int k = 0; k < 16; ++k) {
            uint32_t left = all[8 * (row % 8 * 4 + k % 8 / 2) + row / 8 + 2 * (k / 8)];
            uint32_t right = all[8 * (column * 4 + k % 8 / 2) + 4 + k / 8];
            d[i] += bfloat16_half(left, k % 2) * bfloat16_half(right, k % 2);
        }
    }
}

template <typename T, typename U>
static inline T atomicAdd(T* at, U x) {
    T old = *at;
    *at += x;
    return old;
}
template <typename T>
static inline T atomicMin(T* at, T x) {
    T old = *at;
    *at = std::min(old, x);
    return old;
}
