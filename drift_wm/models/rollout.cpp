// Futures of many action sequences, all chunks of a horizon: central ones, or drawn ones. Noise shifts the first layer
// and scales the last features, and chance may take one of several outcomes of it; or a sample starts from it, and
// several passes of the network read the sample in its place; or it is scaled by the deviations that the network says.
// Torch says the same, in several times the time for
// networks this small. Rows are predicted in blocks whose layers stay in the first-level cache; blocks are shared out
// to the threads that torch has. `compilation.py` compiles this for the machine it runs on.

#include <cmath>
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

// What a row's noise says: the bias of its first layer, a factor (width) of its last features, and of several ways, as
// a number from 0 to 1, which is taken.
struct Noise {
    const float *bias, *factor;
    float chance;
};

// in (BLOCK, inputs) -> out (BLOCK, columns): the products and the bias. First layers, whose bias is that of a row's
// noise where there is one, are kept as `first`; what is activated goes through the activation; and the last features
// have a share of `first` added, and are scaled by their noise.
template <bool FIRST, bool ACTIVATE, bool LAST>
void apply(const Layer &layer, const float *in, float *out, float *first, const float *share, const Noise *noise) {
    for (int left = 0; left < layer.columns; left += PANEL) {
        const float *panel = layer.weight + static_cast<long>(left) * layer.inputs;
        for (int top = 0; top < BLOCK; top += TILE) {
            Vector sums[TILE][VECTORS], weights[VECTORS];
            for (int i = 0; i < TILE; i++) {
                const float *bias = FIRST && noise ? noise[top + i].bias : layer.bias;
                for (int v = 0; v < VECTORS; v++) sums[i][v] = load(bias + left + v * LANES);
            }
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
                    if (FIRST) store(first + at, value);
                    if (ACTIVATE) value = silu(value);
                    if (LAST) value += load(share + column) * load(first + at);
                    if (LAST && noise) value *= load(noise[top + i].factor + column);
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
    std::vector<Noise> noise;               // (BLOCK), or none
    std::vector<float> sample;              // (BLOCK, targets): first its noise
    std::vector<float> told;                // (BLOCK, 2 * width): what `noise` then points to
    std::vector<float> odds;                // (BLOCK, columns of its layer): logarithms, up to a constant of each row
};

// The condition -> what the last layer says.
void predict(const std::vector<Layer> &layers, const float *share, Block &block) {
    const int last = static_cast<int>(layers.size()) - 2;  // hidden layer, to which the first is added
    float *in = block.condition.data(), *out = block.here.data(), *spare = block.there.data();
    float *first = block.first.data();
    const Noise *noise = block.noise.empty() ? nullptr : block.noise.data();
    if (last == 0)
        apply<true, true, true>(layers[0], in, out, first, share, noise);
    else
        apply<true, true, false>(layers[0], in, out, first, nullptr, noise);
    for (int i = 1; i <= last; i++) {
        if (i == last)
            apply<false, true, true>(layers[i], out, spare, first, share, noise);
        else
            apply<false, true, false>(layers[i], out, spare, nullptr, nullptr, nullptr);
        std::swap(out, spare);
    }
    apply<false, false, false>(layers.back(), out, block.said.data(), nullptr, nullptr, nullptr);
}

// The passes of a sample, where it takes several. Mirrored in native.py.
struct Passes {
    int count;
    const float *weight, *biases;      // of a layer: sample -> bias, then factor, of `Noise`; biases (count, columns)
    const float *keep, *add, *offset;  // (count, targets): x becomes keep * x + add * what the network says + offset
};

// What a last layer says in turn: each way's entries. Mirrored in native.py.
struct Ways {
    int count, entries, columns;  // of how many, of each, and of the layer of odds
    const float *weight, *bias;   // of that layer, which reads the first one without noise, activated
};

// Mirrored in native.py.
struct Network {
    int history, chunk, observation, action;  // K, k, D, A
    int shown;                                // frames of a chunk that are predicted: k, or the last of them
    int width, outputs, hidden;               // columns; hidden layers besides the first
    int turning;                              // entries of observations that are angles
    const float *const *parameters;           // weight and bias of the first, the hidden and the last layer
    const float *share;                       // (width): of the first layer, among the last features
    const int *angles;                        // (turning): which entries
    int targets;                              // entries of a sample that noise is of; 0 where it enters the first layer
    const float *smallest, *precision;        // (targets): variances' bounds, of the largest its inverse; or none
    Passes passes;
    Ways ways;                                // count 0: one
};

// Mirrored in native.py.
struct Futures {
    int environments, candidates, particles, chunks;  // B, N, P
    int noises;                                       // environments that noise differs between: B, 1, or 0 without
    const float *frames;                              // (B, K, D)
    const float *actions;                             // (B * N, K - 1 + chunks * k, A)
    const float *biases, *factors;                    // (chunks, noises, P, width): what `Noise` points to,
    const float *chances;                             // (chunks, noises, P) where there are several ways; or
    const float *drawn;                               // (chunks, noises, P, targets)
    float *rewards;                                   // (B * N * P, chunks * k)
    float *observations;                              // (B * N * P, chunks * shown, D)
    float *newest;                                    // (B * N * P, K, D): frames
};

// The futures of a block of rows, chunk after chunk. A condition is K frames as they are read, then actions.
class Rollout {
  public:
    Rollout(const Network &network, const Futures &futures)
        : net(network), all(futures), read(net.observation + 2 * net.turning), seen(net.history * read),
          acted((net.history - 1 + net.chunk) * net.action), inputs(seen + acted), each(all.candidates * all.particles) {
        for (int i = 0; i < net.hidden + 2; i++)
            layers.push_back({net.parameters[2 * i], net.parameters[2 * i + 1], i == 0 ? inputs : net.width,
                              i <= net.hidden ? net.width : net.outputs});
    }

    long rows() const { return static_cast<long>(all.environments) * each; }

    Block make_block() const {
        const auto of_each = [](int columns) { return std::vector<float>(BLOCK * columns); };
        Block block;
        block.condition = of_each(inputs);
        for (auto *features : {&block.first, &block.here, &block.there}) *features = of_each(net.width);
        block.said = of_each(net.outputs);
        block.sample = of_each(net.targets);
        block.odds = of_each(net.ways.columns);
        block.noise.resize(all.biases || net.passes.count ? BLOCK : 0);
        if (net.passes.count) {
            block.told = of_each(2 * net.width);
            for (int i = 0; i < BLOCK; i++)
                block.noise[i] = {&block.told[2 * i * net.width], &block.told[(2 * i + 1) * net.width], 0};
        }
        return block;
    }

    void run(Block &block, long start) const {
        const int count = rows() - start < BLOCK ? static_cast<int>(rows() - start) : BLOCK, D = net.observation;
        for (int i = 0; i < count; i++)
            for (int frame = 0; frame < net.history; frame++)
                tell(all.frames + ((start + i) / each * net.history + frame) * D, condition(block, i) + frame * read);
        for (int chunk = 0; chunk < all.chunks; chunk++) {
            for (int i = 0; i < count; i++) ask(block, start + i, i, chunk);
            if (net.passes.count) {
                pass(block);
            } else {
                for (int i = count; i < static_cast<int>(block.noise.size()); i++) block.noise[i] = block.noise[0];
                predict(layers, net.share, block);
                if (net.smallest) deviate(block);
                if (net.ways.count) choose(block);
            }
            for (int i = 0; i < count; i++) go_on(block, start + i, i, chunk);
        }
        for (int i = 0; i < count; i++)
            for (int frame = 0; frame < net.history; frame++)
                memcpy(all.newest + ((start + i) * net.history + frame) * D, condition(block, i) + frame * read,
                       D * sizeof(float));
    }

  private:
    float *condition(Block &block, int i) const { return block.condition.data() + i * inputs; }

    // A frame (D) -> as it is read.
    void tell(const float *frame, float *to) const {
        memcpy(to, frame, net.observation * sizeof(float));
        for (int i = 0; i < net.turning; i++) {
            to[net.observation + i] = std::cos(frame[net.angles[i]]);
            to[net.observation + net.turning + i] = std::sin(frame[net.angles[i]]);
        }
    }

    // The actions and the noise of a row's chunk, the i-th of its block.
    void ask(Block &block, long row, int i, int chunk) const {
        const long steps = net.history - 1 + static_cast<long>(all.chunks) * net.chunk;
        memcpy(condition(block, i) + seen, all.actions + (row / all.particles * steps + chunk * net.chunk) * net.action,
               acted * sizeof(float));
        if (!all.noises) return;
        const long environment = all.noises > 1 ? row / each : 0;
        const long at = (chunk * all.noises + environment) * all.particles + row % all.particles;
        if (net.targets)
            memcpy(&block.sample[i * net.targets], all.drawn + at * net.targets, net.targets * sizeof(float));
        else
            block.noise[i] = {all.biases + at * net.width, all.factors + at * net.width,
                              all.chances ? all.chances[at] : 0};
    }

    // Of a block's rows, from where samples start to where their passes lead, as if the network had said it.
    void pass(Block &block) const {
        const Passes &passes = net.passes;
        const int targets = net.targets, told = 2 * net.width;
        for (int pass = 0; pass < passes.count; pass++) {
            const Layer reading{passes.weight, passes.biases + pass * told, targets, told};
            apply<false, false, false>(reading, block.sample.data(), block.told.data(), nullptr, nullptr, nullptr);
            predict(layers, net.share, block);
            const float *keep = passes.keep + pass * targets, *add = passes.add + pass * targets;
            const float *offset = passes.offset + pass * targets;
            for (int i = 0; i < BLOCK; i++) {
                float *x = &block.sample[i * targets], *said = &block.said[i * net.outputs];
                for (int j = 0; j < targets; j++) said[j] = x[j] = keep[j] * x[j] + add[j] * said[j] + offset[j];
            }
        }
    }

    // Of a block's rows, means and logarithms of variances -> samples, as if the network had said them. Limits that are
    // soft as logarithms, largest - softplus(largest - v) and then smallest + softplus(v - smallest), are sums here.
    void deviate(Block &block) const {
        for (int i = 0; i < BLOCK; i++) {
            const float *z = &block.sample[i * net.targets];
            float *mean = &block.said[i * net.outputs], *logarithm = mean + net.targets;
            for (int j = 0; j < net.targets; j++)
                mean[j] += z[j] * std::sqrt(net.smallest[j] + 1 / (net.precision[j] + std::exp(-logarithm[j])));
        }
    }

    // Of a block's rows, the entries of the way that chance takes, as if the network had said no other.
    void choose(Block &block) const {
        const Ways &ways = net.ways;
        float *known = block.here.data();  // features that were read already
        for (int i = 0; i < BLOCK; i++)
            for (int j = 0; j < net.width; j += LANES) {
                const int at = i * net.width + j;
                const Vector of_noise = load(block.noise[i].bias + j) - load(layers[0].bias + j);
                store(known + at, silu(load(&block.first[at]) - of_noise));
            }
        const Layer odds{ways.weight, ways.bias, net.width, ways.columns};
        apply<false, false, false>(odds, known, block.odds.data(), nullptr, nullptr, nullptr);
        for (int i = 0; i < BLOCK; i++) {
            float *of_way = &block.odds[i * ways.columns], *said = &block.said[i * net.outputs];
            float largest = of_way[0], sum = 0, below = 0;
            for (int way = 1; way < ways.count; way++) largest = of_way[way] > largest ? of_way[way] : largest;
            for (int way = 0; way < ways.count; way++) sum += of_way[way] = std::exp(of_way[way] - largest);
            int taken = 0;
            for (int way = 0; way < ways.count - 1; way++) {
                below += of_way[way];
                taken += block.noise[i].chance * sum > below;
            }
            if (taken) memcpy(said, said + taken * ways.entries, ways.entries * sizeof(float));
        }
    }

    // What was said of a row's chunk, kept, and its newest frames as the condition of the next.
    void go_on(Block &block, long row, int i, int chunk) const {
        const int K = net.history, k = net.chunk, D = net.observation, kept = k < K ? k : K;
        const float *reward = &block.said[i * net.outputs], *change = reward + k;
        float *known = condition(block, i), *shown = all.observations + (row * all.chunks + chunk) * net.shown * D;
        const float *last = known + (K - 1) * read;
        memcpy(all.rewards + (row * all.chunks + chunk) * k, reward, k * sizeof(float));
        for (int frame = 0; frame < net.shown; frame++)
            for (int d = 0; d < D; d++) shown[frame * D + d] = change[frame * D + d] + last[d];
        memmove(known, known + kept * read, (K - kept) * read * sizeof(float));
        for (int frame = 0; frame < kept; frame++)
            tell(shown + (net.shown - kept + frame) * D, known + (K - kept + frame) * read);
    }

    const Network &net;
    const Futures &all;
    const int read;                 // of a frame: its entries, and cosines and sines of its angles
    const int seen, acted, inputs;  // of a condition: frames, actions, both
    const int each;                 // rows of an environment
    std::vector<Layer> layers;
};

}  // namespace

extern "C" void rollout(const Network *network, const Futures *futures, int threads) {
    const Rollout rollout(*network, *futures);
#pragma omp parallel num_threads(threads)
    {
        Block block = rollout.make_block();
#pragma omp for schedule(static)
        for (long start = 0; start < rollout.rows(); start += BLOCK) rollout.run(block, start);
    }
}
