// Drawing a token from each row of logits; one block a row.

#define SAMPLE_THREADS 256
// Tokens whose weights are summed in float before they join a sum in double.
#define SAMPLE_BLOCK 1024
#define SAMPLE_BLOCKS_MAX 512
// Weights of a nucleus are added as multiples of 2^-44, so that their order does not matter.
#define WEIGHT_UNIT 17592186044416.0

// Keys of unsigned order for floats of any sign, and back.
static __device__ __forceinline__ u32 ordered(float x) {
    u32 bits = __float_as_uint(x);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static __device__ __forceinline__ float unordered(u32 key) {
    return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

// The greatest logit that, with all above it, reaches `share` of the weight of those from `least`
// on, where every weight is 1 if `share` counts tokens. Radix selection, 8 bits at a time.
static __device__ float select_floor(const float* row, size_t vocabulary, float least, bool counts,
                                     double share, float greatest, float divisor) {
    __shared__ u64 bins[256];
    __shared__ u32 prefix;
    __shared__ u64 wanted, above;
    if (threadIdx.x == 0) {
        prefix = 0;
        above = 0;
    }
    for (int shift = 24; shift >= 0; shift -= 8) {
        bins[threadIdx.x] = 0;
        __syncthreads();
        u32 begun = shift == 24 ? 0 : prefix >> (shift + 8);
        for (size_t i = threadIdx.x; i < vocabulary; i += SAMPLE_THREADS) {
            u32 key = ordered(row[i]);
            bool inside = shift == 24 || key >> (shift + 8) == begun;
            if (inside && row[i] >= least) {
                double weight = exp((double)((row[i] - greatest) / divisor));
                atomicAdd(&bins[(key >> shift) & 255], counts ? 1 : (u64)(weight * WEIGHT_UNIT));
            }
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            if (shift == 24) {
                u64 total = 0;
                for (int bin = 0; bin < 256; ++bin) {
                    total += bins[bin];
                }
                double exact = counts ? share : share * (double)total;
                wanted = (u64)ceil(exact);
                wanted = wanted > total ? total : wanted;
            }
            int bin = 255;
            while (bin > 0 && above + bins[bin] < wanted) {
                above += bins[bin];
                --bin;
            }
            prefix |= (u32)bin << shift;
        }
        __syncthreads();
    }
    return unordered(prefix);
}

// The token at `uniform` of the weights' sum, in order of token ids.
static __device__ u32 pick(const float* row, size_t vocabulary, float floor, float greatest,
                           float divisor, double uniform) {
    __shared__ double sums[SAMPLE_BLOCKS_MAX];
    __shared__ float weights[SAMPLE_BLOCK];
    __shared__ double left;
    __shared__ u32 token, last, block;
    __shared__ bool found;
    size_t blocks = (vocabulary + SAMPLE_BLOCK - 1) / SAMPLE_BLOCK;
    for (size_t b = threadIdx.x / WARP; b < blocks; b += SAMPLE_THREADS / WARP) {
        float sum = 0.0f;
        for (size_t i = threadIdx.x % WARP; i < SAMPLE_BLOCK; i += WARP) {
            size_t at = b * SAMPLE_BLOCK + i;
            if (at < vocabulary && row[at] >= floor) {
                sum += expf((row[at] - greatest) / divisor);
            }
        }
        sum = warp_sum(sum);
        if (threadIdx.x % WARP == 0) {
            sums[b] = (double)sum;
        }
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        double total = 0.0;
        for (size_t b = 0; b < blocks; ++b) {
            total += sums[b];
        }
        left = uniform * total;
        found = false;
        block = 0;
        last = 0;
    }
    while (true) {
        __syncthreads();
        if (threadIdx.x == 0) {
            while (block < blocks && left >= sums[block]) {
                left -= sums[block];
                last = sums[block] > 0.0 ? block : last;
                ++block;
            }
        }
        __syncthreads();
        // Past the end by rounding: the last token that has a weight.
        bool past = block >= blocks;
        size_t start = (size_t)(past ? last : block) * SAMPLE_BLOCK;
        for (size_t i = threadIdx.x; i < SAMPLE_BLOCK; i += SAMPLE_THREADS) {
            size_t at = start + i;
            bool kept = at < vocabulary && row[at] >= floor;
            weights[i] = kept ? expf((row[at] - greatest) / divisor) : 0.0f;
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            for (u32 i = 0; i < SAMPLE_BLOCK && !(found && !past); ++i) {
                left -= (double)weights[i];
                if (weights[i] > 0.0f && (past || left < 0.0)) {
                    token = (u32)start + i;
                    found = true;
                }
            }
            found = found || past;
            last = block;
            ++block;
        }
        __syncthreads();
        if (found) {
            return token;
        }
    }
}

// The first token that no other exceeds.
static __device__ u32 most_likely(const float* row, size_t vocabulary, float greatest) {
    __shared__ u32 first;
    if (threadIdx.x == 0) {
        first = 0xffffffffu;
    }
    __syncthreads();
    for (size_t i = threadIdx.x; i < vocabulary; i += SAMPLE_THREADS) {
        if (row[i] >= greatest) {
            atomicMin(&first, (u32)i);
            break;
        }
    }
    __syncthreads();
    return first == 0xffffffffu ? 0 : first;
}

// `top_k` of 0 and `top_p` of 1 keep all; at temperature 0 the most likely token is taken.
extern "C" __global__ void sample_draw(const float* logits, const double* uniforms, u32* tokens,
                                       float* logprobs, float* entropies, size_t vocabulary,
                                       float temperature, size_t top_k, float top_p) {
    __shared__ float scratch[WARP];
    __shared__ double wide_scratch[WARP];
    const float* row = logits + blockIdx.x * vocabulary;
    float divisor = temperature == 0.0f ? 1.0f : temperature;
    float most = LOWEST;
    for (size_t i = threadIdx.x; i < vocabulary; i += SAMPLE_THREADS) {
        most = fmaxf(most, row[i]);
    }
    most = block_max(most, scratch);
    double weight = 0.0, energy = 0.0;
    for (size_t i = threadIdx.x; i < vocabulary; i += SAMPLE_THREADS) {
        float s = (row[i] - most) / divisor;
        float w = expf(s);
        weight += (double)w;
        energy += w == 0.0f ? 0.0 : (double)(s * w);
    }
    weight = block_sum_double(weight, wide_scratch);
    energy = block_sum_double(energy, wide_scratch);
    u32 token;
    if (temperature == 0.0f) {
        token = most_likely(row, vocabulary, most);
    } else {
        float floor = LOWEST;
        if (top_k > 0 && top_k < vocabulary) {
            floor = select_floor(row, vocabulary, floor, true, (double)top_k, most, divisor);
        }
        if (top_p < 1.0f) {
            __syncthreads();
            floor = select_floor(row, vocabulary, floor, false, (double)top_p, most, divisor);
        }
        token = pick(row, vocabulary, floor, most, divisor, uniforms[blockIdx.x]);
    }
    if (threadIdx.x == 0) {
        tokens[blockIdx.x] = token;
        logprobs[blockIdx.x] = (float)((double)((row[token] - most) / divisor) - log(weight));
        entropies[blockIdx.x] = (float)(log(weight) - energy / weight);
    }
}
