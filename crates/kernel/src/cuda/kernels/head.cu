// The head, a chunk of the vocabulary at a time; one block a row of logits.

// Takes a chunk of logits, of the tokens from `first` on, into each row's maximum and sum of
// exponentials, and keeps the target's logit where it is among them.
extern "C" __global__ void head_accumulate(const float* logits, const u32* targets, float* greatest,
                                           float* sums, float* chosen, size_t first, size_t tokens,
                                           float inverse_temperature, float cap) {
    __shared__ float scratch[WARP];
    const float* row = logits + blockIdx.x * tokens;
    float most = LOWEST;
    for (size_t i = threadIdx.x; i < tokens; i += blockDim.x) {
        float logit = cap > 0.0f ? capped(row[i], cap) : row[i];
        most = fmaxf(most, logit * inverse_temperature);
    }
    float old = greatest[blockIdx.x];
    most = fmaxf(old, block_max(most, scratch));
    float sum = 0.0f;
    for (size_t i = threadIdx.x; i < tokens; i += blockDim.x) {
        float logit = cap > 0.0f ? capped(row[i], cap) : row[i];
        sum += expf(logit * inverse_temperature - most);
    }
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) {
        greatest[blockIdx.x] = most;
        sums[blockIdx.x] = sums[blockIdx.x] * expf(old - most) + sum;
        size_t target = targets[blockIdx.x];
        if (target >= first && target < first + tokens) {
            float logit = row[target - first];
            logit = cap > 0.0f ? capped(logit, cap) : logit;
            chosen[blockIdx.x] = logit * inverse_temperature;
        }
    }
}

// chosen becomes the log-probability, sums the logarithm of the sum of exponentials.
extern "C" __global__ void head_finish(const float* greatest, float* sums, float* chosen,
                                       size_t rows) {
    size_t row = GLOBAL_INDEX;
    if (row < rows) {
        float log_sum_exp = greatest[row] + logf(sums[row]);
        sums[row] = log_sum_exp;
        chosen[row] -= log_sum_exp;
    }
}

// Turns a chunk of logits into the gradients in them.
extern "C" __global__ void head_gradient(float* logits, const u32* targets,
                                         const float* log_sum_exp, const float* grad_logprobs,
                                         size_t first, size_t tokens, float inverse_temperature,
                                         float cap) {
    float* row = logits + blockIdx.x * tokens;
    float slope = grad_logprobs[blockIdx.x] * inverse_temperature;
    float log_sum = log_sum_exp[blockIdx.x];
    size_t target = targets[blockIdx.x];
    for (size_t i = threadIdx.x; i < tokens; i += blockDim.x) {
        float logit = cap > 0.0f ? capped(row[i], cap) : row[i];
        float gradient = -slope * expf(logit * inverse_temperature - log_sum);
        gradient += first + i == target ? slope : 0.0f;
        row[i] = cap > 0.0f ? gradient * cap_slope(logit, cap) : gradient;
    }
}
