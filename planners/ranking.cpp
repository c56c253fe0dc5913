// What a planner does between two predictions: propose sequences, find the best, refit a Gaussian to them. Torch takes
// three to ten operations for each, of some microseconds whatever they compute. `native.py` calls this.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

// Each environment's sequences (N, size) within [-1, 1]: K known ones, then those that noise (N, size) draws.
extern "C" void propose(int environments, int N, int size, int K, const float *noise, const float *mean,
                        const float *std, const float *known, float *sequences) {
    const auto bounded = [](float x) { return std::min(std::max(x, -1.0f), 1.0f); };
    for (int b = 0; b < environments; b++, mean += size, std += size) {
        for (long i = 0; i < static_cast<long>(K) * size; i++) *sequences++ = bounded(*known++);
        for (int i = K; i < N; i++, sequences += size)
            for (int j = 0; j < size; j++)
                sequences[j] = bounded(mean[j] + std[j] * noise[static_cast<long>(i) * size + j]);
    }
}

// Of each environment's sequences (N, size), the best S by their scores, best first, into `elites` (S, size); and the
// best so far, which one of them may replace. Returns whether all scores are finite; else nothing is written.
extern "C" bool rank(int environments, int N, int size, int S, const float *sequences, const float *scores,
                     const float *best, const float *score, float *elites, float *new_best, float *new_score) {
    const long all = static_cast<long>(environments) * N;
    if (!std::all_of(scores, scores + all, [](float each) { return std::isfinite(each); })) return false;
    const size_t bytes = size * sizeof(float);
    std::vector<int> order(N);
    for (int b = 0; b < environments; b++) {
        std::iota(order.begin(), order.end(), 0);
        std::partial_sort(order.begin(), order.begin() + S, order.end(),
                          [scores](int i, int j) { return scores[i] > scores[j]; });
        for (int i = 0; i < S; i++)
            memcpy(elites + static_cast<long>(i) * size, sequences + static_cast<long>(order[i]) * size, bytes);
        const float top = scores[order[0]];
        const bool better = top > score[b];
        new_score[b] = better ? top : score[b];
        memcpy(new_best, better ? elites : best, bytes);
        scores += N, sequences += static_cast<long>(N) * size, elites += static_cast<long>(S) * size;
        best += size, new_best += size;
    }
    return true;
}

// Mean and standard deviation (size) of each environment's elites (S, size), with a share of the old ones kept.
extern "C" void refit(int environments, int S, int size, const float *elites, const float *mean, const float *std,
                      float kept, float smallest, float *new_mean, float *new_std) {
    std::vector<float> sums(size), squares(size);
    for (int b = 0; b < environments; b++, elites += static_cast<long>(S) * size) {
        std::fill(sums.begin(), sums.end(), 0.0f);
        std::fill(squares.begin(), squares.end(), 0.0f);
        for (int i = 0; i < S; i++)
            for (int j = 0; j < size; j++) sums[j] += elites[i * size + j];
        for (int j = 0; j < size; j++) sums[j] /= S;
        for (int i = 0; i < S; i++)
            for (int j = 0; j < size; j++) {
                const float off = elites[i * size + j] - sums[j];
                squares[j] += off * off;
            }
        for (int j = 0; j < size; j++) {
            const float now = std::sqrt(squares[j] / S);
            new_std[j] = std::max(now + kept * (std[j] - now), smallest);
            new_mean[j] = sums[j] + kept * (mean[j] - sums[j]);
        }
        mean += size, std += size, new_mean += size, new_std += size;
    }
}

// Both, by the elites that `rank` finds.
extern "C" bool rank_and_refit(int environments, int N, int size, int S, const float *sequences, const float *scores,
                               const float *best, const float *score, float *elites, float *new_best, float *new_score,
                               const float *mean, const float *std, float kept, float smallest, float *new_mean,
                               float *new_std) {
    if (!rank(environments, N, size, S, sequences, scores, best, score, elites, new_best, new_score)) return false;
    refit(environments, S, size, elites, mean, std, kept, smallest, new_mean, new_std);
    return true;
}
