/* What is done row by row, in plain C: native.c includes this once for any processor and once for wide instructions,
 * with NAME(x) as the functions' names, TARGET as their attributes, and FMA(a, b, c) as a * b + c. Sums run in LANES parts,
 * so that a compiler may keep each in a lane of a register without changing a result.
 */

/* e to the power of x <= 0, within 2e-7 of it (Cody and Waite's reduction, a polynomial of degree 7). */
TARGET static inline float NAME(power)(float x) {
    x = x < -87.0f ? -87.0f : x;
    float n = nearbyintf(x * 1.44269504f);
    float r = FMA(n, -0.693145752f, x);
    r = FMA(n, -1.42860677e-6f, r);
    float p = 1.0f / 5040;
    p = FMA(p, r, 1.0f / 720);
    p = FMA(p, r, 1.0f / 120);
    p = FMA(p, r, 1.0f / 24);
    p = FMA(p, r, 1.0f / 6);
    p = FMA(p, r, 0.5f);
    p = FMA(p, r, 1.0f);
    p = FMA(p, r, 1.0f);
    union { int32_t i; float f; } two = {((int32_t)n + 127) * (1 << 23)};
    return p * two.f;
}

TARGET static float NAME(total)(const float *parts) {
    float sum = 0;
    for (int j = 0; j < LANES; j++) sum += parts[j];
    return sum;
}

/* A row of activations into int8, a scale for every GROUP of them. */
TARGET static void NAME(quantize)(const float *x, int width, int8_t *codes, float *scales, int32_t *shift) {
    for (int g = 0; g < width / GROUP; g++, x += GROUP, codes += GROUP) {
        float lanes[LANES] = {0}, most = 0;
        for (int i = 0; i < GROUP; i += LANES)
            for (int j = 0; j < LANES; j++) {
                float size = fabsf(x[i + j]);
                lanes[j] = size > lanes[j] ? size : lanes[j];
            }
        for (int j = 0; j < LANES; j++) most = lanes[j] > most ? lanes[j] : most;
        float inverse = most > 0 ? 127.0f / most : 0.0f;
        int32_t sum = 0;
        for (int i = 0; i < GROUP; i++) {
            int32_t code = (int32_t)nearbyintf(x[i] * inverse);
            codes[i] = (int8_t)code;
            sum += code;
        }
        scales[g] = most / 127.0f;
        shift[g] = -128 * sum;
    }
}

/* RMSNorm (Zhang and Sennrich, arXiv:1910.07467) of x into out. */
TARGET static void NAME(norm)(const float *x, const float *weight, float epsilon, int width, float *out) {
    float lanes[LANES] = {0};
    for (int i = 0; i < width; i += LANES)
        for (int j = 0; j < LANES; j++) lanes[j] += x[i + j] * x[i + j];
    float inverse = 1.0f / sqrtf(NAME(total)(lanes) / width + epsilon);
    for (int i = 0; i < width; i++) out[i] = x[i] * inverse * weight[i];
}

/* SwiGLU (Shazeer, arXiv:2002.05202): x = silu(x) * x[half:]. */
TARGET static void NAME(gate)(float *x, int half) {
    for (int i = 0; i < half; i++) {
        float g = x[i], e = NAME(power)(-fabsf(g));
        x[i] = g * ((g >= 0 ? 1.0f : e) / (1.0f + e)) * x[half + i];
    }
}

/* Turn a head by the angles of its position (Su et al., arXiv:2104.09864). */
TARGET static void NAME(turn)(float *x, const float *cos, const float *sin, int half, float scale) {
    for (int i = 0; i < half; i++) {
        float a = x[i], b = x[half + i];
        x[i] = (a * cos[i] - b * sin[i]) * scale;
        x[half + i] = (b * cos[i] + a * sin[i]) * scale;
    }
}

/* exp of the first `length` scores less their largest, zeros behind them up to `end`; returns one over their sum. There
 * is room for `end` rounded up to LANES. */
TARGET static float NAME(softmax)(float *restrict scores, int length, int end) {
    int whole = (length + LANES - 1) / LANES * LANES;
    for (int t = length; t < whole; t++) scores[t] = -INFINITY;
    float lanes[LANES], top = scores[0];
    for (int j = 0; j < LANES; j++) lanes[j] = scores[j];
    for (int t = 0; t < whole; t += LANES)
        for (int j = 0; j < LANES; j++) lanes[j] = scores[t + j] > lanes[j] ? scores[t + j] : lanes[j];
    for (int j = 0; j < LANES; j++) top = lanes[j] > top ? lanes[j] : top;
    for (int t = 0; t < whole; t++) scores[t] = NAME(power)(scores[t] - top);
    for (int t = length; t < whole || t < end; t++) scores[t] = 0;
    for (int j = 0; j < LANES; j++) lanes[j] = 0;
    for (int t = 0; t < whole; t += LANES)
        for (int j = 0; j < LANES; j++) lanes[j] += scores[t + j];
    return 1.0f / NAME(total)(lanes);
}
