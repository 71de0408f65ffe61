// SPDX-License-Identifier: Apache-2.0
// The selective scan along K walks over a plane, summed: one pass over memory, states in the processor's registers.
//
//     h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t        y[p] += C_t h_t + D u[p],   p = walk[t]
//
// Plain C++ with GCC's and Clang's vector types; no header of torch, so that it builds in seconds. A job is one block
// of LANES channels of one image: it follows the walks one after the other, so that no two threads share an output.

#include <atomic>
#include <cstdint>
#include <cstring>
#include <vector>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif
typedef float Lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t Bits __attribute__((vector_size(4 * LANES)));

constexpr int AHEAD = 8;  // steps whose memory is asked for in advance: walks jump, which processors do not foresee
constexpr float LOG2_E = 1.44269504088896341f;

inline Lanes load(const float* from, int count) {
    Lanes x = {};
    std::memcpy(&x, from, count == LANES ? sizeof x : 4 * count);
    return x;
}

inline void store(float* to, Lanes x, int count) { std::memcpy(to, &x, count == LANES ? sizeof x : 4 * count); }

inline Lanes larger(Lanes a, Lanes b) { return a > b ? a : b; }

// 2^x for x <= 0: x = n + r with |r| <= 1/2, a polynomial of relative error 2e-9 for 2^r, n added to the exponent's
// bits. Exactly 1 at 0, so that steps without delta leave the state alone.
inline Lanes exp2_below_0(Lanes x) {
    const Lanes round = Lanes{} + 12582912.f;  // 1.5 * 2^23: adding it leaves n in the low bits
    x = larger(x, Lanes{} - 126.f);
    const Lanes shifted = x + round;
    const Lanes r = x - (shifted - round);
    Lanes p = r * 0.00015337577497120947f + 0.0013399859890341759f;
    p = p * r + 0.009618519805371761f;
    p = p * r + 0.05550329014658928f;
    p = p * r + 0.24022646248340607f;
    p = p * r + 0.6931471824645996f;
    p = p * r + 1.f;
    return (Lanes)((Bits)p + ((Bits)shifted << 23));
}

// log(1 + e^x) = max(x, 0) + log1p(z), z = e^-|x|; log1p(z) = 2 artanh(z / (2 + z)), a series in s^2 <= 1/9.
inline Lanes softplus(Lanes x) {
    const Lanes z = exp2_below_0(LOG2_E * (x > 0 ? -x : x));
    const Lanes s = z / (z + 2.f), q = s * s;
    Lanes p = q * (1.f / 15) + 1.f / 13;
    p = p * q + 1.f / 11;
    p = p * q + 1.f / 9;
    p = p * q + 1.f / 7;
    p = p * q + 1.f / 5;
    p = p * q + 1.f / 3;
    return larger(x, Lanes{}) + 2.f * s * (p * q + 1.f);
}

struct Problem {
    const float *u, *delta, *bias, *A, *B, *C, *D;
    const int32_t* walks;
    float* y;
    int64_t batch, K, channels, states, length, row;  // row: numbers from one step's B to the next one's
};

// u, y: batch L channels    delta: batch K L channels    A: K states channels    bias, D: K channels
// B, C: batch L K states, `row` numbers between steps' rows of K    walks: K L
template <int STATES>
void scan_block(const Problem& p, int64_t image, int64_t channel) {
    const int64_t N = STATES ? STATES : p.states;
    const int count = p.channels - channel < LANES ? int(p.channels - channel) : LANES;
    const float* u = p.u + image * p.length * p.channels + channel;
    float* y = p.y + image * p.length * p.channels + channel;
    std::vector<Lanes> spare(STATES ? 0 : 2 * N);
    Lanes own[2 * (STATES ? STATES : 1)];
    Lanes* A = STATES ? own : spare.data();
    Lanes* h = A + N;
    for (int64_t k = 0; k < p.K; ++k) {
        const float* delta = p.delta + (image * p.K + k) * p.length * p.channels + channel;
        const float* B = p.B + image * p.length * p.K * p.row + k * p.row;
        const float* C = p.C + image * p.length * p.K * p.row + k * p.row;
        const int32_t* walk = p.walks + k * p.length;
        const Lanes bias = load(p.bias + k * p.channels + channel, count);
        const Lanes D = load(p.D + k * p.channels + channel, count);
        for (int64_t n = 0; n < N; ++n) {
            A[n] = LOG2_E * load(p.A + (k * N + n) * p.channels + channel, count);
            h[n] = Lanes{};
        }
        for (int64_t t = 0; t < p.length; ++t) {
            const int64_t at = walk[t];
            if (t + AHEAD < p.length) {
                const int64_t next = walk[t + AHEAD];
                __builtin_prefetch(u + next * p.channels);
                __builtin_prefetch(delta + next * p.channels);
                __builtin_prefetch(y + next * p.channels, 1);
            }
            const Lanes u_t = load(u + at * p.channels, count);
            const Lanes delta_t = softplus(load(delta + at * p.channels, count) + bias);
            const Lanes input = delta_t * u_t;
            const float* B_t = B + at * p.K * p.row;
            const float* C_t = C + at * p.K * p.row;
            Lanes y_t = D * u_t;
            if (k > 0) y_t += load(y + at * p.channels, count);
#pragma GCC unroll 16
            for (int64_t n = 0; n < N; ++n) {
                h[n] = exp2_below_0(delta_t * A[n]) * h[n] + B_t[n] * input;
                y_t += C_t[n] * h[n];
            }
            store(y + at * p.channels, y_t, count);
        }
    }
}

}  // namespace

extern "C" void scan_walks(const float* u, const float* delta, const float* bias, const float* A, const float* B,
                           const float* C, const float* D, const int32_t* walks, float* y, int64_t batch, int64_t K,
                           int64_t channels, int64_t states, int64_t length, int64_t row, int64_t threads) {
    const Problem problem{u, delta, bias, A, B, C, D, walks, y, batch, K, channels, states, length, row};
    const int64_t blocks = (channels + LANES - 1) / LANES;
    std::atomic<int64_t> next{0};
    const auto work = [&] {
#if defined(__SSE__)
        const unsigned mode = _mm_getcsr();
        _mm_setcsr(mode | 0x8040);  // numbers below 1e-38 are 0: dying states would cost a hundred cycles each
#endif
        for (int64_t job = next++; job < batch * blocks; job = next++) {
            if (states == 16) {
                scan_block<16>(problem, job / blocks, job % blocks * LANES);
            } else {
                scan_block<0>(problem, job / blocks, job % blocks * LANES);
            }
        }
#if defined(__SSE__)
        _mm_setcsr(mode);
#endif
    };
#pragma omp parallel num_threads(threads)
    work();
}
