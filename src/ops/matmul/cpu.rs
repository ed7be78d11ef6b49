use super::{Epilogue, Extents, MatMul};

pub(super) fn scratch(_extents: Extents) -> usize {
    0
}

pub(super) fn matmul(
    op: &MatMul,
    extents: Extents,
    a: &[f32],
    b: &[f32],
    output: &mut [f32],
    epilogue: &Epilogue<'_>,
    _scratch: &mut [f32],
) {
    let Extents { m, n, k, .. } = extents;
    let strides = |transposed: bool, columns: usize, rows: usize| if transposed { (rows, 1) } else { (1, columns) };
    let ((a_columns, a_rows), (b_columns, b_rows)) = (strides(op.transpose_a, k, m), strides(op.transpose_b, n, k));
    let matrices = a.chunks(m * k).zip(b.chunks(k * n)).zip(output.chunks_mut(m * n));
    for (batch, ((a, b), c)) in matrices.enumerate() {
        // SAFETY: the three matrices have the extents and strides given.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                c.as_mut_ptr(),
                1,
                n as isize,
                false,
                a.as_ptr(),
                a_columns as isize,
                a_rows as isize,
                b.as_ptr(),
                b_columns as isize,
                b_rows as isize,
                0.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::Rayon(0),
            );
        }
        epilogue.apply(batch * m * n, c);
    }
}
