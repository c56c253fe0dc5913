// The central futures of many action sequences, all chunks of a horizon: what `Centre` says in torch, several times as
// fast for networks this small. Rows are predicted in blocks whose layers stay in the first-level cache; blocks are
// shared out to the threads that torch has. `native.py` compiles this for the machine it runs on.

#include <cstring>
#include <utility>
#include <vector>

namespace {

// As wide as the registers are: wider ones are emulated at a sixtieth of the speed.
#if defined(__AVX512F__)
constexpr int LANES = 16, TILE = 8;  // 16 of 32 registers hold the sums of TILE rows
#elif defined(__AVX__)
constexpr int LANES = 8, TILE = 2;  // 8 of 16
#else
constexpr int LANES = 4, TILE = 1;  // 8 of 16 or 32
#endif
constexpr int PANEL = 32, VECTORS = PANEL / LANES, BLOCK = 32;

typedef float Vector __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));
typedef int Integers __attribute__((vector_size(LANES * sizeof(int)), aligned(4)));

inline Vector load(const float *from) { return *reinterpret_cast<const Vector *>(from); }
inline void store(float *to, Vector value) { *reinterpret_cast<Vector *>(to) = value; }

// x / (1 + exp(-x)). With -x = n ln 2 + r, exp(-x) is 2^n times a polynomial of r (coefficients of Cephes' expf).
inline Vector silu(Vector x) {
    const Vector none = {}, shift = none + 12582912.0f;  // 1.5 * 2^23, whose addition rounds to whole numbers
    Vector y = -x;
    y = y > 87.0f ? none + 87.0f : y;
    y = y < -87.0f ? none - 87.0f : y;
    const Vector n = (y * 1.44269504f + shift) - shift;
    const Vector r = (y - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts
    Vector p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    const Integers power = (__builtin_convertvector(n, Integers) + 127) << 23;
    return x / (1.0f + p * (Vector)power);
}

// Columns are multiples of PANEL; weights lie in panels (columns / PANEL, inputs, PANEL).
struct Layer {
    const float *weight, *bias;
    int inputs, columns;
};

// in (BLOCK, inputs) -> out (BLOCK, columns): the products and the bias; if asked for, these are kept as `first`, go
// through the activation, and have a share of `first` added.
template <bool KEEP, bool ACTIVATE, bool ADD>
void apply(const Layer &layer, const float *in, float *out, float *first, const float *share) {
    for (int left = 0; left < layer.columns; left += PANEL) {
        const float *panel = layer.weight + static_cast<long>(left) * layer.inputs;
        for (int top = 0; top < BLOCK; top += TILE) {
            Vector sums[TILE][VECTORS], weights[VECTORS];
            for (int i = 0; i < TILE; i++)
                for (int v = 0; v < VECTORS; v++) sums[i][v] = load(layer.bias + left + v * LANES);
            const float *entries = in + top * layer.inputs;
            for (int j = 0; j < layer.inputs; j++) {
                for (int v = 0; v < VECTORS; v++) weights[v] = load(panel + j * PANEL + v * LANES);
                for (int i = 0; i < TILE; i++)
                    for (int v = 0; v < VECTORS; v++) sums[i][v] += entries[i * layer.inputs + j] * weights[v];
            }
            for (int i = 0; i < TILE; i++)
                for (int v = 0; v < VECTORS; v++) {
                    const int column = left + v * LANES, at = (top + i) * layer.columns + column;
                    Vector value = sums[i][v];
                    if (KEEP) store(first + at, value);
                    if (ACTIVATE) value = silu(value);
                    if (ADD) value += load(share + column) * load(first + at);
                    store(out + at, value);
                }
        }
    }
}

// What a thread needs for a block of rows.
struct Block {
    std::vector<float> condition;           // (BLOCK, inputs)
    std::vector<float> first, here, there;  // (BLOCK, width): the first layer's sums, and two layers' features in turn
    std::vector<float> said;                // (BLOCK, outputs)
};

// The condition -> what the last layer says.
void predict(const std::vector<Layer> &layers, const float *share, Block &block) {
    const int last = static_cast<int>(layers.size()) - 2;  // hidden layer, to which the first is added
    float *in = block.condition.data(), *out = block.here.data(), *spare = block.there.data();
    float *first = block.first.data();
    if (last == 0)
        apply<true, true, true>(layers[0], in, out, first, share);
    else
        apply<true, true, false>(layers[0], in, out, first, nullptr);
    for (int i = 1; i <= last; i++) {
        if (i == last)
            apply<false, true, true>(layers[i], out, spare, first, share);
        else
            apply<false, true, false>(layers[i], out, spare, nullptr, nullptr);
        std::swap(out, spare);
    }
    apply<false, false, false>(layers.back(), out, block.said.data(), nullptr, nullptr);
}

}  // namespace

extern "C" {

// Mirrored in native.py.
struct Network {
    int history, chunk, observation, action;  // K, k, D, A
    int shown;                                // frames of a chunk that are predicted: k, or the last of them
    int width, outputs, hidden;               // columns; hidden layers besides the first
    const float *const *parameters;           // weight and bias of the first, the hidden and the last layer
    const float *share;                       // (width): of the first layer, among the last features
};

// frames (rows / candidates, K, D), actions (rows, K - 1 + chunks * k, A) -> rewards (rows, chunks * k), observations
// (rows, chunks * shown, D), newest frames (rows, K, D).
void rollout(const Network *network, int rows, int candidates, int chunks, int threads, const float *frames,
             const float *actions, float *rewards, float *observations, float *newest) {
    const Network &net = *network;
    const int K = net.history, k = net.chunk, D = net.observation, A = net.action, W = net.width;
    const int seen = K * D, acted = (K - 1 + k) * A, inputs = seen + acted, steps = chunks * k;
    const int kept = k < K ? k : K;  // of the newest frames, those that a chunk gives
    std::vector<Layer> layers;
    for (int i = 0; i < net.hidden + 2; i++)
        layers.push_back({net.parameters[2 * i], net.parameters[2 * i + 1], i == 0 ? inputs : W,
                          i <= net.hidden ? W : net.outputs});
#pragma omp parallel num_threads(threads)
    {
        const auto of_each = [](int columns) { return std::vector<float>(BLOCK * columns); };
        Block block{of_each(inputs), of_each(W), of_each(W), of_each(W), of_each(net.outputs)};
        float *condition = block.condition.data();
#pragma omp for schedule(static)
        for (int start = 0; start < rows; start += BLOCK) {
            const int count = rows - start < BLOCK ? rows - start : BLOCK;
            const auto of = [&](int row) { return static_cast<long>(start + row); };
            for (int i = 0; i < count; i++)
                memcpy(condition + i * inputs, frames + of(i) / candidates * seen, seen * sizeof(float));
            for (int chunk = 0; chunk < chunks; chunk++) {
                for (int i = 0; i < count; i++)
                    memcpy(condition + i * inputs + seen, actions + (of(i) * (K - 1 + steps) + chunk * k) * A,
                           acted * sizeof(float));
                predict(layers, net.share, block);
                for (int i = 0; i < count; i++) {
                    float *known = condition + i * inputs;
                    float *shown = observations + (of(i) * chunks + chunk) * net.shown * D;
                    const float *reward = &block.said[i * net.outputs], *change = reward + k, *last = known + (K - 1) * D;
                    memcpy(rewards + of(i) * steps + chunk * k, reward, k * sizeof(float));
                    for (int frame = 0; frame < net.shown; frame++)
                        for (int d = 0; d < D; d++) shown[frame * D + d] = change[frame * D + d] + last[d];
                    memmove(known, known + kept * D, (K - kept) * D * sizeof(float));
                    memcpy(known + (K - kept) * D, shown + (net.shown - kept) * D, kept * D * sizeof(float));
                }
            }
            for (int i = 0; i < count; i++)
                memcpy(newest + of(i) * seen, condition + i * inputs, seen * sizeof(float));
        }
    }
}
}
