// The operands of matrix products that are stored as matrices, and where their result goes (see product_tile.cuh).
#pragma once

__device__ __forceinline__ bool on_16_bytes(const void* address)
{
    return reinterpret_cast<unsigned long long>(address) % 16 == 0;
}

// A matrix of `rows` rows by k; beyond last_k it is zero.
template <bool contiguous_along_k>
struct Matrix {
    static constexpr bool k_contiguous = contiguous_along_k;
    const float* values;
    int rows, last_k;
    int stride;                                                  // from row to row, or from k to k
    bool fours;

    __device__ Matrix(const float* values, int rows, int last_k, int stride)
        : values(values), rows(rows), last_k(last_k), stride(stride),
          fours(stride % 4 == 0 && (k_contiguous ? last_k : rows) % 4 == 0 && on_16_bytes(values))
    {
    }
    __device__ int row(int r) const { return r < rows ? (k_contiguous ? r * stride : r) : -1; }
    __device__ int column(int k) const { return k < last_k ? (k_contiguous ? k : k * stride) : -1; }
    __device__ const float* address(int row, int column) const
    {
        return (row | column) < 0 ? nullptr : values + row + column;         // the sign bit of either
    }
};

// C (M, N), with a bias for each n or none.
struct MatrixResult {
    float* values;
    const float* bias;                                           // or null
    int M, N;
    bool twos;                                                   // columns n and n + 1, n even, share a float2

    __device__ MatrixResult(float* values, const float* bias, int M, int N)
        : values(values), bias(bias), M(M), N(N), twos(N % 2 == 0 && on_16_bytes(values))
    {
    }
    __device__ int row(int m) const { return m < M ? m : -1; }
    __device__ int column(int n) const { return n < N ? n : -1; }
    __device__ void store(int m, int n, float value) const
    {
        if ((m | n) >= 0) values[m * N + n] = bias ? value + bias[n] : value;
    }
    __device__ void store_two(int m, int n, float2 two) const
    {
        if ((m | n) < 0) return;
        if (bias) two = make_float2(two.x + bias[n], two.y + bias[n + 1]);
        *reinterpret_cast<float2*>(values + m * N + n) = two;
    }
};

// Call product(A, B, result, first_k, last_k) with the operands of a gemm kernel, for this block's part of k: along
// which direction an operand is contiguous must be known at compile time, so there are four cases.
template <class Product>
__device__ __forceinline__ void with_gemm_operands(const float* a, const float* b, const float* bias, float* c, int M,
                                                   int N, int K, int a_transposed, int b_transposed, int k_per_part,
                                                   const Product& product)
{
    const int part = blockIdx.z, first_k = part * k_per_part, last_k = min(K, first_k + k_per_part);
    const MatrixResult result(c + part * M * N, part == 0 ? bias : nullptr, M, N);
    const Matrix<true> a_rows(a, M, last_k, K), b_columns(b, N, last_k, K);
    const Matrix<false> a_columns(a, M, last_k, M), b_rows(b, N, last_k, N);
    if (a_transposed && b_transposed) product(a_columns, b_columns, result, first_k, last_k);
    else if (a_transposed) product(a_columns, b_rows, result, first_k, last_k);
    else if (b_transposed) product(a_rows, b_columns, result, first_k, last_k);
    else product(a_rows, b_rows, result, first_k, last_k);
}
