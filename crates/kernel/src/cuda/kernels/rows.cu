// Rows and columns picked by number, and their gradients put back.
//
// What is put back comes sorted by target: `members[starts[t] .. starts[t + 1]]` are the rows that
// add to target t, so that no two threads add to one entry.

// out[n, :] = table[:, ids[n]].
extern "C" __global__ void embedding_forward(const float* table, const u32* ids, float* out,
                                             size_t count, size_t width, size_t vocabulary) {
    for (size_t i = GLOBAL_INDEX; i < count; i += GLOBAL_COUNT) {
        out[i] = table[i % width * vocabulary + ids[i / width]];
    }
}

// table[:, targets[t]] += Σ rows of t; column t of the grid is target t.
extern "C" __global__ void embedding_backward(const u32* targets, const u32* starts,
                                              const u32* members, const float* grad_out,
                                              float* grad_table, size_t width, size_t vocabulary) {
    size_t i = (size_t)blockIdx.y * blockDim.x + threadIdx.x;
    if (i >= width) {
        return;
    }
    size_t at = i * vocabulary + targets[blockIdx.x];
    float sum = grad_table[at];
    for (u32 member = starts[blockIdx.x]; member < starts[blockIdx.x + 1]; ++member) {
        sum += grad_out[(size_t)members[member] * width + i];
    }
    grad_table[at] = sum;
}

extern "C" __global__ void gather_rows(const float* x, const u32* indices, float* out, size_t count,
                                       size_t width) {
    for (size_t i = GLOBAL_INDEX; i < count; i += GLOBAL_COUNT) {
        out[i] = x[(size_t)indices[i / width] * width + i % width];
    }
}

// As embedding_backward, to rows of grad_x.
extern "C" __global__ void scatter_rows(const u32* targets, const u32* starts, const u32* members,
                                        const float* grad_out, float* grad_x, size_t width) {
    size_t i = (size_t)blockIdx.y * blockDim.x + threadIdx.x;
    if (i >= width) {
        return;
    }
    size_t at = (size_t)targets[blockIdx.x] * width + i;
    float sum = grad_x[at];
    for (u32 member = starts[blockIdx.x]; member < starts[blockIdx.x + 1]; ++member) {
        sum += grad_out[(size_t)members[member] * width + i];
    }
    grad_x[at] = sum;
}

// points[r, :] is the mean of the rows spans[2r] .. spans[2r + 1]; column r of the grid is point r.
extern "C" __global__ void pool_forward(const float* hidden, const u32* spans, float* points,
                                        size_t width) {
    size_t i = (size_t)blockIdx.y * blockDim.x + threadIdx.x;
    if (i >= width) {
        return;
    }
    size_t start = spans[2 * blockIdx.x], end = spans[2 * blockIdx.x + 1];
    float sum = 0.0f;
    for (size_t row = start; row < end; ++row) {
        sum += hidden[row * width + i];
    }
    points[blockIdx.x * width + i] = sum / (float)(end - start);
}

extern "C" __global__ void pool_backward(const u32* spans, const float* grad_points,
                                         float* grad_hidden, size_t count, size_t width,
                                         size_t points) {
    for (size_t i = GLOBAL_INDEX; i < count; i += GLOBAL_COUNT) {
        size_t row = i / width;
        float sum = grad_hidden[i];
        for (size_t point = 0; point < points; ++point) {
            u32 start = spans[2 * point], end = spans[2 * point + 1];
            if (start <= row && row < end) {
                sum += grad_points[point * width + i % width] / (float)(end - start);
            }
        }
        grad_hidden[i] = sum;
    }
}

// Columns from `first` on of row r go to row at[r] of the cache.
extern "C" __global__ void append_rows(const float* qkv, float* cache, const u32* at, size_t count,
                                       size_t columns, size_t first, size_t width) {
    for (size_t i = GLOBAL_INDEX; i < count; i += GLOBAL_COUNT) {
        size_t row = i / width;
        cache[(size_t)at[row] * width + i % width] = qkv[row * columns + first + i % width];
    }
}
