// Attention over a tree of segments, in float.
//
// A segment is four numbers: first row, end, parent (NONE for none), and the position of its first
// row. A tile is some rows of one segment: its segment and its first row. A query sees a key of its
// own segment or of one above it whose position is at most its own and nearer than the window.
//
// A block is 16 by 16 threads; each holds every 16th column of an accumulator and, of a block of
// scores, neighbouring rows and columns. COLUMNS is the size of a head rounded up.

#define NONE 0xffffffffu
#define SIDE 16
#define STRIDE (COLUMNS + 1)
#define HELD (COLUMNS / SIDE)
#define FORWARD_ROWS (COLUMNS > 128 ? 32 : 64)
#define FORWARD_KEYS 32
#define BACKWARD_ROWS (COLUMNS > 128 ? 16 : 32)

// Rows of a head into shared memory, times `by`; what is missing is 0.
static __device__ __forceinline__ void load_tile(const float* from, size_t stride, u32 rows,
                                                 u32 size, float by, u32 tile_rows, float* tile) {
    for (u32 i = threadIdx.x; i < tile_rows * COLUMNS; i += SIDE * SIDE) {
        u32 row = i / COLUMNS, column = i % COLUMNS;
        bool there = row < rows && column < size;
        tile[row * STRIDE + column] = there ? from[row * stride + column] * by : 0.0f;
    }
}

// The products of R neighbouring rows of one tile with every 16th of C rows of another.
template <int R, int C>
static __device__ __forceinline__ void tile_products(const float* a, const float* b,
                                                     float (&products)[R][C]) {
#pragma unroll
    for (int i = 0; i < R * C; ++i) {
        products[i / C][i % C] = 0.0f;
    }
#pragma unroll 4
    for (u32 i = 0; i < COLUMNS; ++i) {
#pragma unroll
        for (int r = 0; r < R; ++r) {
            float x = a[r * STRIDE + i];
#pragma unroll
            for (int c = 0; c < C; ++c) {
                products[r][c] += x * b[c * SIDE * STRIDE + i];
            }
        }
    }
}

// Sum and maximum over the 16 threads that share rows of scores.
static __device__ __forceinline__ float side_sum(float x) {
    for (int step = SIDE / 2; step > 0; step /= 2) {
        x += __shfl_xor_sync(ALL_LANES, x, step);
    }
    return x;
}

static __device__ __forceinline__ float side_max(float x) {
    for (int step = SIDE / 2; step > 0; step /= 2) {
        x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, step));
    }
    return x;
}

static __device__ __forceinline__ bool sees(u32 query, u32 key, u32 window) {
    return key <= query && query - key < window;
}

// The first key of a source, whose first has the position `above`, that a query sees.
static __device__ __forceinline__ u32 first_seen(u32 query, u32 above, u32 window) {
    u32 near = query >= window ? query - window + 1 : 0;
    return near > above ? near - above : 0;
}

// Columns of the fused matrix: queries, then keys, then values.
struct Columns {
    size_t all, query, key, value;
};

static __device__ __forceinline__ Columns head_columns(size_t query_heads, size_t key_heads,
                                                       size_t size, size_t query_head) {
    size_t key_head = query_head / (query_heads / key_heads);
    Columns columns;
    columns.all = (query_heads + 2 * key_heads) * size;
    columns.query = query_head * size;
    columns.key = (query_heads + key_head) * size;
    columns.value = (query_heads + key_heads + key_head) * size;
    return columns;
}

// One block a tile of FORWARD_ROWS rows and a query head.
extern "C" __global__ void __launch_bounds__(256)
attention_forward(const float* qkv, float* out, float* log_sum_exp, const u32* segments,
                  const u32* tiles, size_t query_heads, size_t key_heads, size_t size, float scale,
                  float cap, u32 window) {
    const int R = FORWARD_ROWS / SIDE, C = FORWARD_KEYS / SIDE;
    DYNAMIC_SHARED(shared);
    float* query = shared;
    float* key = query + FORWARD_ROWS * STRIDE;
    float* weight = key + FORWARD_KEYS * STRIDE;
    u32 tx = threadIdx.x % SIDE, ty = threadIdx.x / SIDE;
    u32 segment = tiles[2 * blockIdx.x], first = tiles[2 * blockIdx.x + 1];
    const u32* own = segments + 4 * segment;
    u32 rows = min((u32)FORWARD_ROWS, own[1] - first), position = own[3] + first - own[0];
    Columns columns = head_columns(query_heads, key_heads, size, blockIdx.y);
    load_tile(qkv + first * columns.all + columns.query, columns.all, rows, size, scale,
              FORWARD_ROWS, query);
    float held[R][HELD], greatest[R], sums[R];
    for (int r = 0; r < R; ++r) {
        greatest[r] = LOWEST;
        sums[r] = 0.0f;
        for (int d = 0; d < HELD; ++d) {
            held[r][d] = 0.0f;
        }
    }
    for (u32 source = segment; source != NONE; source = segments[4 * source + 2]) {
        const u32* from = segments + 4 * source;
        u32 end = source == segment ? first + rows : from[1];
        for (u32 start = from[0] + first_seen(position, from[3], window); start < end;
             start += FORWARD_KEYS) {
            u32 keys = min((u32)FORWARD_KEYS, end - start);
            __syncthreads();
            load_tile(qkv + start * columns.all + columns.key, columns.all, keys, size, 1.0f,
                      FORWARD_KEYS, key);
            __syncthreads();
            float scores[R][C];
            tile_products<R, C>(query + ty * R * STRIDE, key + tx * STRIDE, scores);
            for (int r = 0; r < R; ++r) {
                u32 row = ty * R + r;
                float(&score)[C] = scores[r];
                float most = greatest[r];
                for (int c = 0; c < C; ++c) {
                    u32 column = tx + c * SIDE;
                    score[c] = cap > 0.0f ? capped(score[c], cap) : score[c];
                    u32 at = from[3] + start - from[0] + column;
                    bool seen = column < keys && sees(position + row, at, window);
                    score[c] = seen ? score[c] : LOWEST;
                    most = fmaxf(most, score[c]);
                }
                most = side_max(most);
                float shrink = greatest[r] == LOWEST ? 0.0f : expf(greatest[r] - most);
                float sum = 0.0f;
                for (int c = 0; c < C; ++c) {
                    float w = score[c] == LOWEST ? 0.0f : expf(score[c] - most);
                    weight[row * (FORWARD_KEYS + 1) + tx + c * SIDE] = w;
                    sum += w;
                }
                sums[r] = sums[r] * shrink + side_sum(sum);
                greatest[r] = most;
                for (int d = 0; d < HELD; ++d) {
                    held[r][d] *= shrink;
                }
            }
            __syncthreads();
            load_tile(qkv + start * columns.all + columns.value, columns.all, keys, size, 1.0f,
                      FORWARD_KEYS, key);
            __syncthreads();
            for (u32 k = 0; k < keys; ++k) {
                for (int r = 0; r < R; ++r) {
                    float w = weight[(ty * R + r) * (FORWARD_KEYS + 1) + k];
                    for (int d = 0; d < HELD; ++d) {
                        held[r][d] += w * key[k * STRIDE + tx + d * SIDE];
                    }
                }
            }
        }
    }
    for (int r = 0; r < R; ++r) {
        u32 row = ty * R + r;
        if (row >= rows) {
            continue;
        }
        if (tx == 0) {
            log_sum_exp[(first + row) * query_heads + blockIdx.y] = greatest[r] + logf(sums[r]);
        }
        for (int d = 0; d < HELD; ++d) {
            u32 column = tx + d * SIDE;
            if (column < size) {
                out[((first + row) * query_heads + blockIdx.y) * size + column] =
                    held[r][d] / sums[r];
            }
        }
    }
}

// inner[row, head] = Σ out · grad_out; one warp each.
extern "C" __global__ void attention_inner(const float* out, const float* grad_out, float* inner,
                                           size_t count, size_t size) {
    size_t i = GLOBAL_INDEX / WARP;
    if (i >= count) {
        return;
    }
    float sum = 0.0f;
    for (size_t column = threadIdx.x % WARP; column < size; column += WARP) {
        sum += out[i * size + column] * grad_out[i * size + column];
    }
    sum = warp_sum(sum);
    if (threadIdx.x % WARP == 0) {
        inner[i] = sum;
    }
}

// Weight of a key for a query, and the gradient in their score before the cap.
static __device__ __forceinline__ void differentiate(float score, float slope, float log_sum_exp,
                                                     float inner, float cap, float* weight,
                                                     float* gradient) {
    float bent = cap > 0.0f ? capped(score, cap) : score;
    *weight = expf(bent - log_sum_exp);
    *gradient = *weight * (slope - inner) * (cap > 0.0f ? cap_slope(bent, cap) : 1.0f);
}

// The gradient in queries; one block a tile of BACKWARD_ROWS rows and a query head.
extern "C" __global__ void __launch_bounds__(256)
attention_backward_query(const float* qkv, const float* log_sum_exp, const float* inner,
                         const float* grad_out, float* grad_qkv, const u32* segments,
                         const u32* tiles, size_t query_heads, size_t key_heads, size_t size,
                         float scale, float cap, u32 window) {
    const int R = BACKWARD_ROWS / SIDE;
    const u32 TILE = BACKWARD_ROWS * STRIDE;
    DYNAMIC_SHARED(shared);
    float *query = shared, *grad = query + TILE, *key = grad + TILE, *value = key + TILE;
    float* slopes = value + TILE;
    u32 tx = threadIdx.x % SIDE, ty = threadIdx.x / SIDE;
    u32 segment = tiles[2 * blockIdx.x], first = tiles[2 * blockIdx.x + 1];
    const u32* own = segments + 4 * segment;
    u32 rows = min((u32)BACKWARD_ROWS, own[1] - first), position = own[3] + first - own[0];
    Columns columns = head_columns(query_heads, key_heads, size, blockIdx.y);
    load_tile(qkv + first * columns.all + columns.query, columns.all, rows, size, scale,
              BACKWARD_ROWS, query);
    load_tile(grad_out + (first * query_heads + blockIdx.y) * size, query_heads * size, rows, size,
              1.0f, BACKWARD_ROWS, grad);
    float held[R][HELD];
    for (int r = 0; r < R; ++r) {
        for (int d = 0; d < HELD; ++d) {
            held[r][d] = 0.0f;
        }
    }
    for (u32 source = segment; source != NONE; source = segments[4 * source + 2]) {
        const u32* from = segments + 4 * source;
        u32 end = source == segment ? first + rows : from[1];
        for (u32 start = from[0] + first_seen(position, from[3], window); start < end;
             start += BACKWARD_ROWS) {
            u32 keys = min((u32)BACKWARD_ROWS, end - start);
            __syncthreads();
            load_tile(qkv + start * columns.all + columns.key, columns.all, keys, size, 1.0f,
                      BACKWARD_ROWS, key);
            load_tile(qkv + start * columns.all + columns.value, columns.all, keys, size, 1.0f,
                      BACKWARD_ROWS, value);
            __syncthreads();
            float scores[R][R], moves[R][R];
            tile_products<R, R>(query + ty * R * STRIDE, key + tx * STRIDE, scores);
            tile_products<R, R>(grad + ty * R * STRIDE, value + tx * STRIDE, moves);
            for (int r = 0; r < R; ++r) {
                for (int c = 0; c < R; ++c) {
                    u32 row = ty * R + r, column = tx + c * SIDE;
                    u32 at = from[3] + start - from[0] + column;
                    float gradient = 0.0f, w;
                    if (row < rows && column < keys && sees(position + row, at, window)) {
                        size_t state = (first + row) * query_heads + blockIdx.y;
                        differentiate(scores[r][c], moves[r][c], log_sum_exp[state], inner[state],
                                      cap, &w, &gradient);
                    }
                    slopes[row * (BACKWARD_ROWS + 1) + column] = gradient;
                }
            }
            __syncthreads();
            for (u32 k = 0; k < keys; ++k) {
                for (int r = 0; r < R; ++r) {
                    float slope = slopes[(ty * R + r) * (BACKWARD_ROWS + 1) + k];
                    for (int d = 0; d < HELD; ++d) {
                        held[r][d] += slope * key[k * STRIDE + tx + d * SIDE];
                    }
                }
            }
        }
    }
    for (int r = 0; r < R; ++r) {
        for (int d = 0; d < HELD; ++d) {
            u32 row = ty * R + r, column = tx + d * SIDE;
            if (row < rows && column < size) {
                grad_qkv[(first + row) * columns.all + columns.query + column] = held[r][d] * scale;
            }
        }
    }
}

// The gradients in keys and values; one block a tile of BACKWARD_ROWS keys and a key head. The
// segments that see a key, its own and those below it, are members[starts[s] .. starts[s + 1]].
extern "C" __global__ void __launch_bounds__(256)
attention_backward_key(const float* qkv, const float* log_sum_exp, const float* inner,
                       const float* grad_out, float* grad_qkv, const u32* segments,
                       const u32* tiles, const u32* starts, const u32* members, size_t query_heads,
                       size_t key_heads, size_t size, float scale, float cap, u32 window) {
    const int R = BACKWARD_ROWS / SIDE;
    const u32 TILE = BACKWARD_ROWS * STRIDE;
    DYNAMIC_SHARED(shared);
    float *query = shared, *grad = query + TILE, *key = grad + TILE, *value = key + TILE;
    float *weights = value + TILE, *slopes = weights + BACKWARD_ROWS * (BACKWARD_ROWS + 1);
    u32 tx = threadIdx.x % SIDE, ty = threadIdx.x / SIDE;
    u32 segment = tiles[2 * blockIdx.x], first = tiles[2 * blockIdx.x + 1];
    const u32* own = segments + 4 * segment;
    u32 keys = min((u32)BACKWARD_ROWS, own[1] - first), position = own[3] + first - own[0];
    u32 group = query_heads / key_heads;
    Columns columns = head_columns(query_heads, key_heads, size, blockIdx.y * group);
    load_tile(qkv + first * columns.all + columns.key, columns.all, keys, size, 1.0f, BACKWARD_ROWS,
              key);
    load_tile(qkv + first * columns.all + columns.value, columns.all, keys, size, 1.0f,
              BACKWARD_ROWS, value);
    float held_key[R][HELD], held_value[R][HELD];
    for (int r = 0; r < R; ++r) {
        for (int d = 0; d < HELD; ++d) {
            held_key[r][d] = held_value[r][d] = 0.0f;
        }
    }
    for (u32 turn = 0; turn < group * (starts[segment + 1] - starts[segment]); ++turn) {
        u32 head = blockIdx.y * group + turn % group;
        u32 below = members[starts[segment] + turn / group];
        const u32* from = segments + 4 * below;
        u32 start = below == segment ? first : from[0], end = from[1];
        // Rows from this one on are too far from the last key.
        u64 reach = (u64)position + keys - 1 + window;
        end = reach <= from[3] ? start : (u32)min((u64)end, from[0] + (reach - from[3]));
        for (; start < end; start += BACKWARD_ROWS) {
            u32 rows = min((u32)BACKWARD_ROWS, end - start);
            __syncthreads();
            load_tile(qkv + start * columns.all + head * size, columns.all, rows, size, scale,
                      BACKWARD_ROWS, query);
            load_tile(grad_out + (start * query_heads + head) * size, query_heads * size, rows,
                      size, 1.0f, BACKWARD_ROWS, grad);
            __syncthreads();
            float scores[R][R], moves[R][R];
            tile_products<R, R>(query + ty * R * STRIDE, key + tx * STRIDE, scores);
            tile_products<R, R>(grad + ty * R * STRIDE, value + tx * STRIDE, moves);
            for (int r = 0; r < R; ++r) {
                for (int c = 0; c < R; ++c) {
                    u32 row = ty * R + r, column = tx + c * SIDE;
                    u32 at = from[3] + start - from[0] + row;
                    float gradient = 0.0f, w = 0.0f;
                    if (row < rows && column < keys && sees(at, position + column, window)) {
                        size_t state = (start + row) * query_heads + head;
                        differentiate(scores[r][c], moves[r][c], log_sum_exp[state], inner[state],
                                      cap, &w, &gradient);
                    }
                    weights[row * (BACKWARD_ROWS + 1) + column] = w;
                    slopes[row * (BACKWARD_ROWS + 1) + column] = gradient;
                }
            }
            __syncthreads();
            for (u32 q = 0; q < rows; ++q) {
                for (int r = 0; r < R; ++r) {
                    float w = weights[q * (BACKWARD_ROWS + 1) + ty * R + r];
                    float slope = slopes[q * (BACKWARD_ROWS + 1) + ty * R + r];
                    for (int d = 0; d < HELD; ++d) {
                        held_value[r][d] += w * grad[q * STRIDE + tx + d * SIDE];
                        held_key[r][d] += slope * query[q * STRIDE + tx + d * SIDE];
                    }
                }
            }
        }
    }
    for (int r = 0; r < R; ++r) {
        for (int d = 0; d < HELD; ++d) {
            u32 row = ty * R + r, column = tx + d * SIDE;
            if (row < keys && column < size) {
                float* to = grad_qkv + (first + row) * columns.all + column;
                to[columns.key] = held_key[r][d];
                to[columns.value] = held_value[r][d];
            }
        }
    }
}
