// Attention on tensor cores: operands in bfloat16, sums and softmax in float.
//
// A block is 4 warps, each with 16 rows of the block's 64; keys, or in the gradient of keys
// queries, come 32 at a time. Tiles hold pairs of neighbouring bfloat16: along a row's columns, or,
// turned, along rows of one column. Rows are padded so that the lanes of a warp read from different
// banks.

#define TENSOR_ROWS 64
#define TENSOR_STEP 32
#define TENSOR_THREADS 128
#define PAIRS (COLUMNS / 2 + 4)
#define TURNED_PAIRS (TENSOR_STEP / 2 + 4)
// Blocks of 8 columns of an accumulator, and of 8 rows that come at a time.
#define COLUMN_BLOCKS (COLUMNS / 8)
#define STEP_BLOCKS (TENSOR_STEP / 8)

static __device__ __forceinline__ u32 pack(float low, float high) {
    return (u32)to_bfloat16(low) | (u32)to_bfloat16(high) << 16;
}

// d += a b: a is 16 by 16, b 16 by 8. Lane 4 g + t holds of d the rows g and g + 8, columns 2 t and
// 2 t + 1; of a the same rows, column pairs t and t + 4; of b column g, row pairs t and t + 4.
static __device__ __forceinline__ void multiply_tile(float (&d)[4], const u32 (&a)[4],
                                                     const u32 (&b)[2]) {
#ifdef EMULATED
    emulated_multiply_tile(d, a, b);
#else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// Rows of a head as pairs along columns; what is missing is 0.
static __device__ __forceinline__ void load_pairs(const float* from, size_t stride, u32 rows,
                                                  u32 size, u32 tile_rows, u32* tile) {
    for (u32 i = threadIdx.x; i < tile_rows * (COLUMNS / 2); i += TENSOR_THREADS) {
        u32 row = i / (COLUMNS / 2), pair = i % (COLUMNS / 2);
        const float* at = from + row * stride + 2 * pair;
        float low = row < rows && 2 * pair < size ? at[0] : 0.0f;
        float high = row < rows && 2 * pair + 1 < size ? at[1] : 0.0f;
        tile[row * PAIRS + pair] = pack(low, high);
    }
}

// TENSOR_STEP rows of a head, turned: for each column pairs along rows.
static __device__ __forceinline__ void load_turned(const float* from, size_t stride, u32 rows,
                                                   u32 size, u32* tile) {
    for (u32 i = threadIdx.x; i < TENSOR_STEP / 2 * COLUMNS; i += TENSOR_THREADS) {
        u32 pair = i / COLUMNS, column = i % COLUMNS;
        const float* at = from + 2 * pair * stride + column;
        float low = 2 * pair < rows && column < size ? at[0] : 0.0f;
        float high = 2 * pair + 1 < rows && column < size ? at[stride] : 0.0f;
        tile[column * TURNED_PAIRS + pair] = pack(low, high);
    }
}

// products = a bᵀ of 16 rows of a tile, from `first` on, with TENSOR_STEP rows of another.
static __device__ __forceinline__ void multiply_rows(const u32* a_tile, u32 first, const u32* b_tile,
                                                     float (&products)[STEP_BLOCKS][4]) {
    u32 g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
    for (u32 j = 0; j < STEP_BLOCKS; ++j) {
        for (u32 i = 0; i < 4; ++i) {
            products[j][i] = 0.0f;
        }
    }
    for (u32 k = 0; k < COLUMNS / 16; ++k) {
        const u32* row = a_tile + (first + g) * PAIRS + 8 * k + t;
        u32 a[4] = {row[0], row[8 * PAIRS], row[4], row[8 * PAIRS + 4]};
        for (u32 j = 0; j < STEP_BLOCKS; ++j) {
            const u32* column = b_tile + (8 * j + g) * PAIRS + 8 * k + t;
            u32 b[2] = {column[0], column[4]};
            multiply_tile(products[j], a, b);
        }
    }
}

// held += a b of 16 by TENSOR_STEP numbers, as multiply_rows leaves them, with a turned tile.
static __device__ __forceinline__ void multiply_turned(const float (&a)[STEP_BLOCKS][4],
                                                       const u32* b_tile,
                                                       float (&held)[COLUMN_BLOCKS][4]) {
    u32 g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
    for (u32 k = 0; k < TENSOR_STEP / 16; ++k) {
        const float(&low)[4] = a[2 * k], (&high)[4] = a[2 * k + 1];
        u32 rows[4] = {pack(low[0], low[1]), pack(low[2], low[3]), pack(high[0], high[1]),
                       pack(high[2], high[3])};
        for (u32 d = 0; d < COLUMN_BLOCKS; ++d) {
            const u32* column = b_tile + (8 * d + g) * TURNED_PAIRS + 8 * k + t;
            u32 b[2] = {column[0], column[4]};
            multiply_tile(held[d], rows, b);
        }
    }
}

// Sum and maximum over the 4 lanes that hold a row.
static __device__ __forceinline__ float quad_sum(float x) {
    x += __shfl_xor_sync(ALL_LANES, x, 1);
    return x + __shfl_xor_sync(ALL_LANES, x, 2);
}

static __device__ __forceinline__ float quad_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 1));
    return fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 2));
}

static __device__ __forceinline__ void clear(float (&held)[COLUMN_BLOCKS][4]) {
    for (u32 d = 0; d < COLUMN_BLOCKS; ++d) {
        for (u32 i = 0; i < 4; ++i) {
            held[d][i] = 0.0f;
        }
    }
}

// As attention_forward.
extern "C" __global__ void __launch_bounds__(128)
attention_forward_tensor(const float* qkv, float* out, float* log_sum_exp, const u32* segments,
                         const u32* tiles, size_t query_heads, size_t key_heads, size_t size,
                         float scale, float cap, u32 window) {
    DYNAMIC_SHARED(shared);
    u32* query = (u32*)shared;
    u32* key = query + TENSOR_ROWS * PAIRS;
    u32* value = key + TENSOR_STEP * PAIRS;
    u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4, base = threadIdx.x / WARP * 16;
    u32 segment = tiles[2 * blockIdx.x], first = tiles[2 * blockIdx.x + 1];
    const u32* own = segments + 4 * segment;
    u32 rows = min((u32)TENSOR_ROWS, own[1] - first), position = own[3] + first - own[0];
    Columns columns = head_columns(query_heads, key_heads, size, blockIdx.y);
    load_pairs(qkv + first * columns.all + columns.query, columns.all, rows, size, TENSOR_ROWS,
               query);
    float held[COLUMN_BLOCKS][4], greatest[2] = {LOWEST, LOWEST}, sums[2] = {0.0f, 0.0f};
    clear(held);
    for (u32 source = segment; source != NONE; source = segments[4 * source + 2]) {
        const u32* from = segments + 4 * source;
        u32 end = source == segment ? first + rows : from[1];
        for (u32 start = from[0] + first_seen(position, from[3], window); start < end;
             start += TENSOR_STEP) {
            u32 keys = min((u32)TENSOR_STEP, end - start);
            const float* at = qkv + start * columns.all;
            __syncthreads();
            load_pairs(at + columns.key, columns.all, keys, size, TENSOR_STEP, key);
            load_turned(at + columns.value, columns.all, keys, size, value);
            __syncthreads();
            float scores[STEP_BLOCKS][4];
            multiply_rows(query, base, key, scores);
            for (u32 half = 0; half < 2; ++half) {
                u32 here = position + base + g + 8 * half;
                float most = greatest[half], sum = 0.0f;
                for (u32 i = 0; i < 2 * STEP_BLOCKS; ++i) {
                    float& score = scores[i / 2][2 * half + i % 2];
                    u32 column = i / 2 * 8 + 2 * t + i % 2;
                    u32 there = from[3] + start - from[0] + column;
                    score = cap > 0.0f ? capped(score * scale, cap) : score * scale;
                    score = column < keys && sees(here, there, window) ? score : LOWEST;
                    most = fmaxf(most, score);
                }
                most = quad_max(most);
                float shrink = greatest[half] == LOWEST ? 0.0f : expf(greatest[half] - most);
                for (u32 i = 0; i < 2 * STEP_BLOCKS; ++i) {
                    float& score = scores[i / 2][2 * half + i % 2];
                    score = score == LOWEST ? 0.0f : expf(score - most);
                    sum += score;
                }
                sums[half] = sums[half] * shrink + quad_sum(sum);
                greatest[half] = most;
                for (u32 d = 0; d < COLUMN_BLOCKS; ++d) {
                    held[d][2 * half] *= shrink;
                    held[d][2 * half + 1] *= shrink;
                }
            }
            multiply_turned(scores, value, held);
        }
    }
    for (u32 half = 0; half < 2; ++half) {
        u32 row = base + g + 8 * half;
        size_t state = (first + row) * query_heads + blockIdx.y;
        if (row < rows && t == 0) {
            log_sum_exp[state] = greatest[half] + logf(sums[half]);
        }
        for (u32 i = 0; i < 2 * COLUMN_BLOCKS; ++i) {
            u32 column = i / 2 * 8 + 2 * t + i % 2;
            if (row < rows && column < size) {
                out[state * size + column] = held[i / 2][2 * half + i % 2] / sums[half];
            }
        }
    }
}
