// Attention of decoded rows over a cache of keys and values.

#define CACHED_WARPS 8
// Query heads of one key head that one block computes.
#define CACHED_QUERIES 4
#define LANE_COLUMNS (COLUMNS / WARP)

// One block a row, a key head, and CACHED_QUERIES of its query heads. A span is four cache rows:
// start and end of the shared keys, start and end of the row's own. Each warp sees every 8th key.
extern "C" __global__ void __launch_bounds__(256)
attention_cached(const float* qkv, const float* cache, const u32* spans, float* out,
                 size_t query_heads, size_t key_heads, size_t size, float scale, float cap) {
    DYNAMIC_SHARED(shared);
    float* greatests = shared;
    float* totals = greatests + CACHED_WARPS * CACHED_QUERIES;
    float* parts = totals + CACHED_WARPS * CACHED_QUERIES;
    u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    u32 group = query_heads / key_heads, turn = blockIdx.z * CACHED_QUERIES;
    u32 queries = min((u32)CACHED_QUERIES, group - turn);
    size_t first = blockIdx.y * group + turn;
    const float* query = qkv + blockIdx.x * (query_heads + 2 * key_heads) * size + first * size;
    const u32* span = spans + 4 * blockIdx.x;
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
        for (u32 w = 0; w < CACHED_WARPS; ++w) {
            u32 state = w * CACHED_QUERIES + i;
            float by = totals[state] > 0.0f ? expf(greatests[state] - most) : 0.0f;
            total += totals[state] * by;
            sum += parts[state * COLUMNS + column] * by;
        }
        if (column < size) {
            out[blockIdx.x * query_heads * size + (first + i) * size + column] = sum / total;
        }
    }
}
