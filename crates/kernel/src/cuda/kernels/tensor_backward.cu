// The gradient of attention on tensor cores; for heads of at most 128 columns, whose accumulators
// fit the registers.

// As attention_backward_query.
extern "C" __global__ void __launch_bounds__(128)
attention_backward_query_tensor(const float* qkv, const float* log_sum_exp, const float* inner,
                                const float* grad_out, float* grad_qkv, const u32* segments,
                                const u32* tiles, size_t query_heads, size_t key_heads, size_t size,
                                float scale, float cap, u32 window) {
    DYNAMIC_SHARED(shared);
    u32* query = (u32*)shared;
    u32* grad = query + TENSOR_ROWS * PAIRS;
    u32* key = grad + TENSOR_ROWS * PAIRS;
    u32* value = key + TENSOR_STEP * PAIRS;
    u32* turned_key = value + TENSOR_STEP * PAIRS;
    u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4, base = threadIdx.x / WARP * 16;
    u32 segment = tiles[2 * blockIdx.x], first = tiles[2 * blockIdx.x + 1];
    const u32* own = segments + 4 * segment;
    u32 rows = min((u32)TENSOR_ROWS, own[1] - first), position = own[3] + first - own[0];
    Columns columns = head_columns(query_heads, key_heads, size, blockIdx.y);
    load_pairs(qkv + first * columns.all + columns.query, columns.all, rows, size, TENSOR_ROWS,
               query);
    load_pairs(grad_out + (first * query_heads + blockIdx.y) * size, query_heads * size, rows, size,
               TENSOR_ROWS, grad);
    float held[COLUMN_BLOCKS][4], sums[2], products[2];
    clear(held);
    for (u32 half = 0; half < 2; ++half) {
        u32 row = base + g + 8 * half;
        size_t state = (first + row) * query_heads + blockIdx.y;
        sums[half] = row < rows ? log_sum_exp[state] : 0.0f;
        products[half] = row < rows ? inner[state] : 0.0f;
    }
    for (u32 source = segment; source != NONE; source = segments[4 * source + 2]) {
        const u32* from = segments + 4 * source;
        u32 end = source == segment ? first + rows : from[1];
        for (u32 start = from[0] + first_seen(position, from[3], window); start < end;
             start += TENSOR_STEP) {
            u32 keys = min((u32)TENSOR_STEP, end - start);
            const float* at = qkv + start * columns.all;
            __syncthreads();
            load_pairs(at + columns.key, columns.all, keys, size, TENSOR_STEP, key);
            load_pairs(at + columns.value, columns.all, keys, size, TENSOR_STEP, value);
            load_turned(at + columns.key, columns.all, keys, size, turned_key);
            __syncthreads();
            float scores[STEP_BLOCKS][4], slopes[STEP_BLOCKS][4];
            multiply_rows(query, base, key, scores);
            multiply_rows(grad, base, value, slopes);
            for (u32 i = 0; i < 4 * STEP_BLOCKS; ++i) {
                u32 half = i % 4 / 2, row = base + g + 8 * half;
                u32 column = i / 4 * 8 + 2 * t + i % 2;
                u32 there = from[3] + start - from[0] + column;
                float weight, gradient = 0.0f;
                if (row < rows && column < keys && sees(position + row, there, window)) {
                    differentiate(scores[i / 4][i % 4] * scale, slopes[i / 4][i % 4], sums[half],
                                  products[half], cap, &weight, &gradient);
                }
                slopes[i / 4][i % 4] = gradient;
            }
            multiply_turned(slopes, turned_key, held);
        }
    }
    for (u32 i = 0; i < 4 * COLUMN_BLOCKS; ++i) {
        u32 row = base + g + 8 * (i % 4 / 2), column = i / 4 * 8 + 2 * t + i % 2;
        if (row < rows && column < size) {
            grad_qkv[(first + row) * columns.all + columns.query + column] =
                held[i / 4][i % 4] * scale;
        }
    }
}

// As attention_backward_key, for tiles of TENSOR_ROWS keys; here rows of scores are keys.
extern "C" __global__ void __launch_bounds__(128)
attention_backward_key_tensor(const float* qkv, const float* log_sum_exp, const float* inner,
                              const float* grad_out, float* grad_qkv, const u32* segments,
                              const u32* tiles, const u32* starts, const u32* members,
                              size_t query_heads, size_t key_heads, size_t size, float scale,
                              float cap, u32 window) {
    DYNAMIC_SHARED(shared);
    u32* key = (u32*)shared;
    u32* value = key + TENSOR_ROWS * PAIRS;
    u32* query = value + TENSOR_ROWS * PAIRS;
    u32* grad = query + TENSOR_STEP * PAIRS;
    u32* turned_query = grad + TENSOR_STEP * PAIRS;
    u32* turned_grad = turned_query + COLUMNS * TURNED_PAIRS;
    float* sums = (float*)(turned_grad + COLUMNS * TURNED_PAIRS);
    float* products = sums + TENSOR_STEP;
    u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4, base = threadIdx.x / WARP * 16;
    u32 segment = tiles[2 * blockIdx.x], first = tiles[2 * blockIdx.x + 1];
    const u32* own = segments + 4 * segment;
    u32 keys = min((u32)TENSOR_ROWS, own[1] - first), position = own[3] + first - own[0];
    u32 group = query_heads / key_heads;
    Columns columns = head_columns(query_heads, key_heads, size, blockIdx.y * group);
    const float* here = qkv + first * columns.all;
    load_pairs(here + columns.key, columns.all, keys, size, TENSOR_ROWS, key);
    load_pairs(here + columns.value, columns.all, keys, size, TENSOR_ROWS, value);
    float held_key[COLUMN_BLOCKS][4], held_value[COLUMN_BLOCKS][4];
    clear(held_key);
    clear(held_value);
    for (u32 turn = 0; turn < group * (starts[segment + 1] - starts[segment]); ++turn) {
        u32 head = blockIdx.y * group + turn % group;
        u32 below = members[starts[segment] + turn / group];
        const u32* from = segments + 4 * below;
        u32 start = below == segment ? first : from[0], end = from[1];
        // Rows from this one on are too far from the last key.
        u64 reach = (u64)position + keys - 1 + window;
        end = reach <= from[3] ? start : (u32)min((u64)end, from[0] + (reach - from[3]));
        for (; start < end; start += TENSOR_STEP) {
            u32 rows = min((u32)TENSOR_STEP, end - start);
            const float* queries = qkv + start * columns.all + head * size;
            const float* grads = grad_out + (start * query_heads + head) * size;
            __syncthreads();
            load_pairs(queries, columns.all, rows, size, TENSOR_STEP, query);
            load_turned(queries, columns.all, rows, size, turned_query);
            load_pairs(grads, query_heads * size, rows, size, TENSOR_STEP, grad);
            load_turned(grads, query_heads * size, rows, size, turned_grad);
            if (threadIdx.x < TENSOR_STEP) {
                size_t state = (start + threadIdx.x) * query_heads + head;
                sums[threadIdx.x] = threadIdx.x < rows ? log_sum_exp[state] : 0.0f;
                products[threadIdx.x] = threadIdx.x < rows ? inner[state] : 0.0f;
            }
            __syncthreads();
            float weights[STEP_BLOCKS][4], slopes[STEP_BLOCKS][4];
            multiply_rows(key, base, query, weights);
            multiply_rows(value, base, grad, slopes);
            for (u32 i = 0; i < 4 * STEP_BLOCKS; ++i) {
                u32 row = base + g + 8 * (i % 4 / 2), column = i / 4 * 8 + 2 * t + i % 2;
                u32 at = from[3] + start - from[0] + column;
                float weight = 0.0f, gradient = 0.0f;
                if (row < keys && column < rows && sees(at, position + row, window)) {
                    differentiate(weights[i / 4][i % 4] * scale, slopes[i / 4][i % 4], sums[column],
                                  products[column], cap, &weight, &gradient);
                }
                weights[i / 4][i % 4] = weight;
                slopes[i / 4][i % 4] = gradient;
            }
            multiply_turned(weights, turned_grad, held_value);
            multiply_turned(slopes, turned_query, held_key);
        }
    }
    for (u32 i = 0; i < 4 * COLUMN_BLOCKS; ++i) {
        u32 row = base + g + 8 * (i % 4 / 2), column = i / 4 * 8 + 2 * t + i % 2;
        if (row < keys && column < size) {
            float* to = grad_qkv + (first + row) * columns.all + column;
            to[columns.key] = held_key[i / 4][i % 4] * scale;
            to[columns.value] = held_value[i / 4][i % 4];
        }
    }
}
