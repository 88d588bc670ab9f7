// Non-maximum suppression: by decreasing score, a box is kept unless one kept before overlaps it by more than a
// threshold; the overlap is the area of both over the area of either (intersection over union).
//   sorting
//   1  one thread a box, which counts the boxes that come before it: that is its place
//   suppressing
//   1  (block) one block: box after box, the threads share out those that follow and strike out what a kept one
//      overlaps        every box waits at a barrier for the one before, and one multiprocessor does all the work
//   2  (mask, scan) which box would strike out which depends on no order, so many blocks write it down, a bit a pair,
//      32 of them a word; then one block walks through the words     all overlaps at once; two barriers for 32 boxes
//
// boxes        (n, 4) of x1, y1, x2, y2;  sorted: the same by decreasing score
// scores       (n,)   equal ones keep their order; NaN comes before all
// order, keep  (n,)   the number of each sorted box; of each that is kept, by decreasing score, `count` in all
// removed      (n,) zeros for rung 1, (words,) zeros for rung 2, words = ceil(n / 32)
// mask         (n, words)   bit k of word j in row i: box i overlaps box 32 j + k, which comes later (of the sorted);
//                           words of none but earlier boxes are not written
// Sorting is launched with n threads, rung 1 of suppressing and the scan with one block of whole warps, the mask with
// blocks of whole warps: words along x, and along y as many as n threads take.
// needs: 16-byte arrays

constexpr int WORD = 32;                             // bits

__device__ float4 box_at(const float* boxes, int i) { return reinterpret_cast<const float4*>(boxes)[i]; }

// __fmul_rn: not joined with the sums that follow, which would round less and tip what stands at the threshold.
__device__ float area_of(float4 box) { return __fmul_rn(box.z - box.x, box.w - box.y); }

__device__ bool overlap(float4 a, float4 b, float threshold)
{
    const float width = fmaxf(fminf(a.z, b.z) - fmaxf(a.x, b.x), 0.0f);
    const float height = fmaxf(fminf(a.w, b.w) - fmaxf(a.y, b.y), 0.0f);
    const float both = __fmul_rn(width, height);
    return both / (area_of(a) + area_of(b) - both) > threshold;      // of two without area NaN, which is not larger
}

// Whether box i comes before box j.
__device__ bool comes_first(float score_i, int i, float score_j, int j)
{
    const bool i_is_nan = score_i != score_i, j_is_nan = score_j != score_j;
    if (i_is_nan || j_is_nan) return i_is_nan && j_is_nan ? i < j : i_is_nan;
    return score_i > score_j || (score_i == score_j && i < j);
}

extern "C" __global__ void nms_sort(const float* boxes, const float* scores, float* sorted, int* order, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float score = scores[i];
    int place = 0;
    for (int j = 0; j < n; j++) place += comes_first(scores[j], j, score, i);
    reinterpret_cast<float4*>(sorted)[place] = box_at(boxes, i);
    order[place] = i;
}

extern "C" __global__ void nms_block(const float* sorted, const int* order, int* removed, int* keep, int* count,
                                     float threshold, int n)
{
    int kept = 0;
    for (int i = 0; i < n; i++) {
        __syncthreads();                             // what the boxes before struck out is known
        if (removed[i]) continue;
        const float4 box = box_at(sorted, i);
        for (int j = i + 1 + threadIdx.x; j < n; j += blockDim.x)
            if (overlap(box, box_at(sorted, j), threshold)) removed[j] = 1;
        if (threadIdx.x == 0) keep[kept] = order[i];
        kept++;
    }
    if (threadIdx.x == 0) count[0] = kept;
}

// Rung 2.

extern "C" __global__ void nms_mask(const float* sorted, unsigned int* mask, float threshold, int n)
{
    __shared__ float4 columns[WORD];
    const int word = blockIdx.x, words = gridDim.x, first_row = blockIdx.y * blockDim.x;
    if ((word + 1) * WORD <= first_row) return;      // the whole block: no box of the word comes after its rows
    const int first = word * WORD, in_word = min(WORD, n - first);
    if (threadIdx.x < in_word) columns[threadIdx.x] = box_at(sorted, first + threadIdx.x);
    __syncthreads();
    const int i = first_row + threadIdx.x;
    if (i >= n) return;
    const float4 box = box_at(sorted, i);
    unsigned int bits = 0;
    for (int k = 0; k < in_word; k++) {
        const float4 other = columns[k];
        if (first + k > i && overlap(box, other, threshold)) bits |= 1u << k;
    }
    mask[i * words + word] = bits;
}

extern "C" __global__ void nms_scan(const unsigned int* mask, const int* order, unsigned int* removed, int* keep,
                                    int* count, int n)
{
    __shared__ unsigned int own[WORD];               // what the word's boxes strike out among themselves
    const int t = threadIdx.x, words = (n + WORD - 1) / WORD;
    int kept_before = 0;
    for (int word = 0; word < words; word++) {
        const int first = word * WORD, in_word = min(WORD, n - first);
        if (t < in_word) own[t] = mask[(first + t) * words + word];
        __syncthreads();                             // and what the words before struck out is known
        unsigned int gone = removed[word], kept = 0; // every thread finds the same
        for (int k = 0; k < in_word; k++) {
            if (gone >> k & 1u) continue;
            kept |= 1u << k;
            gone |= own[k];
        }
        for (int later = word + 1 + t; later < words; later += blockDim.x) {
            unsigned int struck_out = 0;
            for (unsigned int left = kept; left; left &= left - 1)
                struck_out |= mask[(first + __ffs(left) - 1) * words + later];
            removed[later] |= struck_out;
        }
        if (t < in_word && (kept >> t & 1u)) keep[kept_before + __popc(kept & ((1u << t) - 1))] = order[first + t];
        kept_before += __popc(kept);
        __syncthreads();                             // nobody may still read `own` when the next word's is written
    }
    if (t == 0) count[0] = kept_before;
}
