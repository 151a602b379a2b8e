// Attention of decoded rows over a cache of keys and values.
//
// Keys that neighbouring rows share are read once for all of them, in parts: a part leaves for each
// query a state, which is its greatest score, the sum of exponentials relative to it, and the
// values weighted by those. States are then joined with those of the row's own keys.

#define CACHED_WARPS 8
// Query heads of one key head that one block computes.
#define CACHED_QUERIES 4
#define LANE_COLUMNS (COLUMNS / WARP)
// Queries of one block of attention_cached_shared.
#define SHARED_QUERIES (CACHED_WARPS * CACHED_QUERIES)

// One block a part, a key head, and SHARED_QUERIES of the part's queries, which come row by row. A
// part is five numbers: first row and number of rows that share it, start and end of its keys, and
// its place among the parts of those rows. A lane scores a key, then weighs columns of values.
extern "C" __global__ void __launch_bounds__(256)
attention_cached_shared(const float* qkv, const float* cache, const u32* parts, float* states,
                        size_t rows, size_t query_heads, size_t key_heads, size_t size,
                        float scale, float cap) {
    DYNAMIC_SHARED(shared);
    float* queries = shared;
    float* keys = queries + SHARED_QUERIES * STRIDE;
    float* values = keys + WARP * STRIDE;
    const u32* part = parts + 5 * blockIdx.x;
    u32 lane = threadIdx.x % WARP, group = query_heads / key_heads;
    u32 begin = blockIdx.z * SHARED_QUERIES, all = part[1] * group;
    if (begin >= all) {
        return;
    }
    size_t columns = (query_heads + 2 * key_heads) * size, first_head = blockIdx.y * group;
    for (u32 i = threadIdx.x; i < SHARED_QUERIES * COLUMNS; i += CACHED_WARPS * WARP) {
        u32 n = begin + i / COLUMNS, column = i % COLUMNS;
        size_t at = (part[0] + n / group) * columns + (first_head + n % group) * size + column;
        queries[i / COLUMNS * STRIDE + column] = n < all && column < size ? qkv[at] * scale : 0.0f;
    }
    u32 own = threadIdx.x / WARP * CACHED_QUERIES;
    // In the place of the keys, once they are scored.
    float* weights = keys + own * WARP;
    float held[CACHED_QUERIES][LANE_COLUMNS], greatest[CACHED_QUERIES], sums[CACHED_QUERIES];
    for (u32 i = 0; i < CACHED_QUERIES; ++i) {
        greatest[i] = LOWEST;
        sums[i] = 0.0f;
        for (u32 d = 0; d < LANE_COLUMNS; ++d) {
            held[i][d] = 0.0f;
        }
    }
    size_t width = 2 * key_heads * size;
    for (u32 start = part[2]; start < part[3]; start += WARP) {
        u32 count = min((u32)WARP, part[3] - start);
        const float* key = cache + start * width + blockIdx.y * size;
        __syncthreads();
        load_tile(key, width, count, size, 1.0f, WARP, keys);
        load_tile(key + key_heads * size, width, count, size, 1.0f, WARP, values);
        __syncthreads();
        float scores[CACHED_QUERIES] = {};
        for (u32 c = 0; c < COLUMNS; ++c) {
            float x = keys[lane * STRIDE + c];
            for (u32 i = 0; i < CACHED_QUERIES; ++i) {
                scores[i] += queries[(own + i) * STRIDE + c] * x;
            }
        }
        __syncthreads();
        for (u32 i = 0; i < CACHED_QUERIES; ++i) {
            float score = cap > 0.0f ? capped(scores[i], cap) : scores[i];
            score = lane < count ? score : LOWEST;
            float most = fmaxf(greatest[i], warp_max(score));
            float shrink = expf(greatest[i] - most), w = expf(score - most);
            greatest[i] = most;
            sums[i] = sums[i] * shrink + warp_sum(w);
            weights[i * WARP + lane] = w;
            for (u32 d = 0; d < LANE_COLUMNS; ++d) {
                held[i][d] *= shrink;
            }
        }
        __syncwarp();
        for (u32 k = 0; k < count; ++k) {
            for (u32 d = 0; d < LANE_COLUMNS; ++d) {
                float x = values[k * STRIDE + lane + d * WARP];
                for (u32 i = 0; i < CACHED_QUERIES; ++i) {
                    held[i][d] += weights[i * WARP + k] * x;
                }
            }
        }
    }
    for (u32 i = 0; i < CACHED_QUERIES; ++i) {
        u32 n = begin + own + i;
        size_t row = part[0] + n / group, head = first_head + n % group;
        float* state = states + ((part[4] * rows + row) * query_heads + head) * (size + 2);
        if (n < all && lane == 0) {
            state[0] = greatest[i];
            state[1] = sums[i];
        }
        for (u32 d = 0; d < LANE_COLUMNS; ++d) {
            u32 column = lane + d * WARP;
            if (n < all && column < size) {
                state[2 + column] = held[i][d];
            }
        }
    }
}

// One block a row, a key head, and CACHED_QUERIES of its query heads. A span is four cache rows,
// start and end of the keys it shares with no neighbour, start and end of the row's own, and how
// many parts of shared keys left states. Each warp sees every 8th key.
extern "C" __global__ void __launch_bounds__(256)
attention_cached(const float* qkv, const float* cache, const u32* spans, const float* states,
                 float* out, float* log_sum_exp, size_t query_heads, size_t key_heads, size_t size,
                 float scale, float cap) {
    DYNAMIC_SHARED(shared);
    float* greatests = shared;
    float* totals = greatests + CACHED_WARPS * CACHED_QUERIES;
    float* parts = totals + CACHED_WARPS * CACHED_QUERIES;
    u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    u32 group = query_heads / key_heads, turn = blockIdx.z * CACHED_QUERIES;
    u32 queries = min((u32)CACHED_QUERIES, group - turn);
    size_t first = blockIdx.y * group + turn;
    const float* query = qkv + blockIdx.x * (query_heads + 2 * key_heads) * size + first * size;
    const u32* span = spans + 5 * blockIdx.x;
    u32 above = span[1] - span[0], keys = above + span[3] - span[2];
    float q[CACHED_QUERIES][LANE_COLUMNS], held[CACHED_QUERIES][LANE_COLUMNS];
    float greatest[CACHED_QUERIES], sums[CACHED_QUERIES];
    for (u32 i = 0; i < CACHED_QUERIES; ++i) {
        greatest[i] = LOWEST;
        sums[i] = 0.0f;
        for (u32 d = 0; d < LANE_COLUMNS; ++d) {
            u32 column = lane + d * WARP;
            bool there = i < queries && column < size;
            q[i][d] = there ? query[i * size + column] * scale : 0.0f;
            held[i][d] = 0.0f;
        }
    }
    for (u32 k = warp; k < keys; k += CACHED_WARPS) {
        size_t at = k < above ? span[0] + k : span[2] + (k - above);
        const float* key = cache + at * 2 * key_heads * size + blockIdx.y * size;
        const float* value = key + key_heads * size;
        float key_held[LANE_COLUMNS], value_held[LANE_COLUMNS];
        for (u32 d = 0; d < LANE_COLUMNS; ++d) {
            u32 column = lane + d * WARP;
            key_held[d] = column < size ? key[column] : 0.0f;
            value_held[d] = column < size ? value[column] : 0.0f;
        }
        for (u32 i = 0; i < CACHED_QUERIES; ++i) {
            float score = 0.0f;
            for (u32 d = 0; d < LANE_COLUMNS; ++d) {
                score += q[i][d] * key_held[d];
            }
            score = warp_sum(score);
            score = cap > 0.0f ? capped(score, cap) : score;
            float most = fmaxf(greatest[i], score);
            float shrink = expf(greatest[i] - most), w = expf(score - most);
            greatest[i] = most;
            sums[i] = sums[i] * shrink + w;
            for (u32 d = 0; d < LANE_COLUMNS; ++d) {
                held[i][d] = held[i][d] * shrink + w * value_held[d];
            }
        }
    }
    for (u32 i = 0; i < CACHED_QUERIES; ++i) {
        u32 state = warp * CACHED_QUERIES + i;
        if (lane == 0) {
            greatests[state] = greatest[i];
            totals[state] = sums[i];
        }
        for (u32 d = 0; d < LANE_COLUMNS; ++d) {
            parts[state * COLUMNS + lane + d * WARP] = held[i][d];
        }
    }
    __syncthreads();
    for (u32 entry = threadIdx.x; entry < queries * COLUMNS; entry += CACHED_WARPS * WARP) {
        u32 i = entry / COLUMNS, column = entry % COLUMNS;
        float most = LOWEST, total = 0.0f, sum = 0.0f;
        for (u32 w = 0; w < CACHED_WARPS; ++w) {
            most = fmaxf(most, greatests[w * CACHED_QUERIES + i]);
        }
        size_t width = size + 2, next = gridDim.x * query_heads * width;
        const float* shared_states = states + (blockIdx.x * query_heads + first + i) * width;
        for (u32 p = 0; p < span[4]; ++p) {
            most = fmaxf(most, shared_states[p * next]);
        }
        for (u32 p = 0; p < span[4] && column < size; ++p) {
            const float* state = shared_states + p * next;
            float by = expf(state[0] - most);
            total += state[1] * by;
            sum += state[2 + column] * by;
        }
        for (u32 w = 0; w < CACHED_WARPS; ++w) {
            u32 state = w * CACHED_QUERIES + i;
            float by = totals[state] > 0.0f ? expf(greatests[state] - most) : 0.0f;
            total += totals[state] * by;
            sum += parts[state * COLUMNS + column] * by;
        }
        if (column < size) {
            out[blockIdx.x * query_heads * size + (first + i) * size + column] = sum / total;
        }
        if (column == 0) {
            log_sum_exp[blockIdx.x * query_heads + first + i] = most + logf(total);
        }
    }
}
