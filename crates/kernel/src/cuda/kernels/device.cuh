// What all kernels share: types, conversions, reductions.
//
// Sizes are size_t, as the host's; every sum runs in a fixed order, so that equal inputs give equal
// bits. A block is one row of threads unless its kernel says otherwise.

typedef unsigned int u32;
typedef unsigned long long u64;
// A bfloat16 by its bits.
typedef unsigned short bf16;

#ifndef DYNAMIC_SHARED
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) float name[]
#endif

#define WARP 32
#define ALL_LANES 0xffffffffu
#define LOWEST (-__int_as_float(0x7f800000))

// This thread's index among all of a grid along x, and their number.
#define GLOBAL_INDEX ((size_t)blockIdx.x * blockDim.x + threadIdx.x)
#define GLOBAL_COUNT ((size_t)gridDim.x * blockDim.x)

// Nearest, ties to even; NaN stays NaN.
static __device__ __forceinline__ bf16 to_bfloat16(float x) {
    u32 bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (bf16)((bits >> 16) | 0x40u);
    }
    return (bf16)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

static __device__ __forceinline__ float warp_sum(float x) {
    for (int step = WARP / 2; step > 0; step /= 2) {
        x += __shfl_xor_sync(ALL_LANES, x, step);
    }
    return x;
}

static __device__ __forceinline__ double warp_sum_double(double x) {
    for (int step = WARP / 2; step > 0; step /= 2) {
        x += __shfl_xor_sync(ALL_LANES, x, step);
    }
    return x;
}

static __device__ __forceinline__ float warp_max(float x) {
    for (int step = WARP / 2; step > 0; step /= 2) {
        x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, step));
    }
    return x;
}

// The sum over a block of whole warps, known to every thread; `scratch` holds one value a warp.
static __device__ __forceinline__ float block_sum(float x, float* scratch) {
    x = warp_sum(x);
    if (blockDim.x == WARP) {
        return x;
    }
    __syncthreads();
    if (threadIdx.x % WARP == 0) {
        scratch[threadIdx.x / WARP] = x;
    }
    __syncthreads();
    float total = 0.0f;
    for (u32 warp = 0; warp < blockDim.x / WARP; ++warp) {
        total += scratch[warp];
    }
    return total;
}

// As block_sum, in double.
static __device__ __forceinline__ double block_sum_double(double x, double* scratch) {
    x = warp_sum_double(x);
    __syncthreads();
    if (threadIdx.x % WARP == 0) {
        scratch[threadIdx.x / WARP] = x;
    }
    __syncthreads();
    double total = 0.0;
    for (u32 warp = 0; warp < blockDim.x / WARP; ++warp) {
        total += scratch[warp];
    }
    return total;
}

// The maximum over a block of whole warps, known to every thread.
static __device__ __forceinline__ float block_max(float x, float* scratch) {
    x = warp_max(x);
    __syncthreads();
    if (threadIdx.x % WARP == 0) {
        scratch[threadIdx.x / WARP] = x;
    }
    __syncthreads();
    float greatest = scratch[0];
    for (u32 warp = 1; warp < blockDim.x / WARP; ++warp) {
        greatest = fmaxf(greatest, scratch[warp]);
    }
    return greatest;
}

// c tanh(x / c), and how steep it is there.
static __device__ __forceinline__ float capped(float x, float cap) {
    return cap * tanhf(x / cap);
}

static __device__ __forceinline__ float cap_slope(float bent, float cap) {
    float y = bent / cap;
    return (1.0f - y) * (1.0f + y);
}
