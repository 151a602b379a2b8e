// Root-mean-square norms of runs of columns, and sums over matrices.

// One block a run: run `blockIdx.y` of row `blockIdx.x`, in the columns from `first` on.
extern "C" __global__ void rms_forward(const float* x, const float* weight, float* y,
                                       float* inverse_rms, size_t width, size_t first, size_t size,
                                       float epsilon, float offset) {
    __shared__ float scratch[WARP];
    size_t at = (size_t)blockIdx.x * width + first + (size_t)blockIdx.y * size;
    float squares = 0.0f;
    for (size_t i = threadIdx.x; i < size; i += blockDim.x) {
        squares += x[at + i] * x[at + i];
    }
    float inverse = 1.0f / sqrtf(block_sum(squares, scratch) / (float)size + epsilon);
    if (threadIdx.x == 0) {
        inverse_rms[(size_t)blockIdx.x * gridDim.y + blockIdx.y] = inverse;
    }
    for (size_t i = threadIdx.x; i < size; i += blockDim.x) {
        y[at + i] = x[at + i] * inverse * (offset + weight[i]);
    }
}

// The gradient in x, written or added; blocks as in the forward.
extern "C" __global__ void rms_backward(const float* x, const float* weight,
                                        const float* inverse_rms, const float* grad_y,
                                        float* grad_x, size_t width, size_t first, size_t size,
                                        float offset, u32 adds) {
    __shared__ float scratch[WARP];
    size_t at = (size_t)blockIdx.x * width + first + (size_t)blockIdx.y * size;
    float inverse = inverse_rms[(size_t)blockIdx.x * gridDim.y + blockIdx.y];
    float product = 0.0f;
    for (size_t i = threadIdx.x; i < size; i += blockDim.x) {
        product += grad_y[at + i] * (offset + weight[i]) * x[at + i];
    }
    float slope = block_sum(product, scratch) * inverse * inverse * inverse / (float)size;
    for (size_t i = threadIdx.x; i < size; i += blockDim.x) {
        float scaled = grad_y[at + i] * (offset + weight[i]);
        float old = adds ? grad_x[at + i] : 0.0f;
        grad_x[at + i] = old + (scaled * inverse - x[at + i] * slope);
    }
}

// The gradient in the weight of `rows_of_part` rows: row `blockIdx.y` of `partial`.
extern "C" __global__ void rms_backward_weight(const float* x, const float* inverse_rms,
                                               const float* grad_y, float* partial, size_t rows,
                                               size_t width, size_t first, size_t runs, size_t size,
                                               size_t rows_of_part) {
    size_t i = GLOBAL_INDEX;
    if (i >= size) {
        return;
    }
    size_t start = blockIdx.y * rows_of_part;
    size_t end = start + rows_of_part < rows ? start + rows_of_part : rows;
    float sum = 0.0f;
    for (size_t row = start; row < end; ++row) {
        for (size_t run = 0; run < runs; ++run) {
            size_t at = row * width + first + run * size + i;
            sum += grad_y[at] * x[at] * inverse_rms[row * runs + run];
        }
    }
    partial[blockIdx.y * size + i] = sum;
}

// sums[c] += Σ x[:, c]. A block is 32 columns by 8 rows of threads.
extern "C" __global__ void column_sums(const float* x, float* sums, size_t rows, size_t columns) {
    __shared__ float parts[8][WARP + 1];
    size_t column = (size_t)blockIdx.x * WARP + threadIdx.x;
    float sum = 0.0f;
    if (column < columns) {
        for (size_t row = threadIdx.y; row < rows; row += 8) {
            sum += x[row * columns + column];
        }
    }
    parts[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && column < columns) {
        for (int part = 1; part < 8; ++part) {
            sum += parts[part][threadIdx.x];
        }
        sums[column] += sum;
    }
}

// partial[block] = Σ x² of the block's entries.
extern "C" __global__ void squared_partials(const float* x, double* partial, size_t count) {
    __shared__ double scratch[WARP];
    double sum = 0.0;
    for (size_t i = GLOBAL_INDEX; i < count; i += GLOBAL_COUNT) {
        sum += (double)x[i] * (double)x[i];
    }
    sum = block_sum_double(sum, scratch);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = sum;
    }
}

// Leaves 1 in `found` where an entry is infinite or NaN.
extern "C" __global__ void find_not_finite(const float* x, u32* found, size_t count) {
    for (size_t i = GLOBAL_INDEX; i < count; i += GLOBAL_COUNT) {
        if ((__float_as_uint(x[i]) & 0x7f800000u) == 0x7f800000u) {
            *found = 1;
        }
    }
}
