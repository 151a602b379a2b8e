// Operations on entries: each thread walks the entries with the stride of the grid.

extern "C" __global__ void add_into(const float* x, float* y, size_t count) {
    for (size_t i = GLOBAL_INDEX; i < count; i += GLOBAL_COUNT) {
        y[i] += x[i];
    }
}

extern "C" __global__ void scale_by(float* x, float by, size_t count) {
    for (size_t i = GLOBAL_INDEX; i < count; i += GLOBAL_COUNT) {
        x[i] *= by;
    }
}

extern "C" __global__ void fill(float* x, float value, size_t count) {
    for (size_t i = GLOBAL_INDEX; i < count; i += GLOBAL_COUNT) {
        x[i] = value;
    }
}

extern "C" __global__ void softcap_apply(float* x, float cap, size_t count) {
    for (size_t i = GLOBAL_INDEX; i < count; i += GLOBAL_COUNT) {
        x[i] = capped(x[i], cap);
    }
}

extern "C" __global__ void cast_to_bfloat16(const float* x, bf16* y, size_t count) {
    for (size_t i = GLOBAL_INDEX; i < count; i += GLOBAL_COUNT) {
        y[i] = to_bfloat16(x[i]);
    }
}

// Every row of y becomes the bias, or has it added.
extern "C" __global__ void bias_rows(const float* bias, float* y, size_t count, size_t columns,
                                     u32 adds) {
    for (size_t i = GLOBAL_INDEX; i < count; i += GLOBAL_COUNT) {
        y[i] = (adds ? y[i] : 0.0f) + bias[i % columns];
    }
}

static __device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

#define GATE_SILU 0
#define GELU_SCALE 0.7978845608f
#define GELU_CUBIC 0.044715f

static __device__ __forceinline__ float gelu_bent(float x) {
    return tanhf(GELU_SCALE * x * (1.0f + GELU_CUBIC * x * x));
}

extern "C" __global__ void glu_forward(const float* gate_up, float* act, size_t count, size_t width,
                                       u32 kind) {
    for (size_t i = GLOBAL_INDEX; i < count; i += GLOBAL_COUNT) {
        size_t at = i / width * 2 * width + i % width;
        float gate = gate_up[at], up = gate_up[at + width];
        act[i] = kind == GATE_SILU ? gate * sigmoid(gate) * up
                                   : 0.5f * gate * (1.0f + gelu_bent(gate)) * up;
    }
}

// Turns gate and up into the gradient in them.
extern "C" __global__ void glu_backward(const float* grad_act, float* gate_up, size_t count,
                                        size_t width, u32 kind) {
    for (size_t i = GLOBAL_INDEX; i < count; i += GLOBAL_COUNT) {
        size_t at = i / width * 2 * width + i % width;
        float gate = gate_up[at], up = gate_up[at + width], grad = grad_act[i];
        if (kind == GATE_SILU) {
            float slope = sigmoid(gate);
            gate_up[at] = grad * up * slope * (1.0f + gate * (1.0f - slope));
            gate_up[at + width] = grad * gate * slope;
        } else {
            float bent = gelu_bent(gate);
            float steep = GELU_SCALE * (1.0f + 3.0f * GELU_CUBIC * gate * gate);
            float slope = 1.0f + bent + gate * (1.0f - bent) * (1.0f + bent) * steep;
            gate_up[at] = grad * up * 0.5f * slope;
            gate_up[at + width] = grad * 0.5f * gate * (1.0f + bent);
        }
    }
}

// Turns pairs of entries of every head in the columns from `first` on.
extern "C" __global__ void rope_rotate(const float* cosines, const float* sines,
                                       const u32* positions, float* x, size_t count, size_t width,
                                       size_t first, size_t heads, size_t size, size_t half,
                                       float sign) {
    for (size_t i = GLOBAL_INDEX; i < count; i += GLOBAL_COUNT) {
        size_t pair = i % half, head = i / half % heads, row = i / half / heads;
        size_t angle = (size_t)positions[row] * half + pair;
        float* low = x + row * width + first + head * size + pair;
        float a = low[0], b = low[half], cosine = cosines[angle], sine = sign * sines[angle];
        low[0] = a * cosine - b * sine;
        low[half] = b * cosine + a * sine;
    }
}

static __device__ __forceinline__ u64 split_mix(u64 state) {
    u64 mixed = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9ull;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBull;
    return mixed ^ (mixed >> 31);
}

#define SPLIT_MIX_STEP 0x9E3779B97F4A7C15ull

extern "C" __global__ void dropout_apply(const float* x, const u64* keys, u64 stream, u32 limit,
                                         float keep, float* y, size_t count, size_t width,
                                         u32 adds) {
    for (size_t i = GLOBAL_INDEX; i < count; i += GLOBAL_COUNT) {
        u64 start = split_mix(keys[i / width] ^ split_mix(stream * SPLIT_MIX_STEP));
        u64 bits = split_mix(start + (u64)(i % width + 1) * SPLIT_MIX_STEP);
        float factor = (u32)(bits >> 32) >= limit ? keep : 0.0f;
        y[i] = (adds ? y[i] : 0.0f) + x[i] * factor;
    }
}

extern "C" __global__ void adamw_update(float* weight, const float* grad, float* first,
                                        float* second, size_t count, float beta1, float beta2,
                                        float epsilon, float grad_scale, float keep,
                                        float step_size, float root_correction) {
    for (size_t i = GLOBAL_INDEX; i < count; i += GLOBAL_COUNT) {
        float g = grad[i] * grad_scale;
        float m = first[i] + (1.0f - beta1) * (g - first[i]);
        float v = beta2 * second[i] + (1.0f - beta2) * g * g;
        first[i] = m;
        second[i] = v;
        weight[i] = weight[i] * keep - step_size * m / (sqrtf(v) / root_correction + epsilon);
    }
}
