use std::cell::RefCell;

thread_local! {
    static BUFFER: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with `n` floats of memory that belongs to this thread and is kept between calls; what is in it is left over
/// from others. `f` must not start parallel work: what the thread does meanwhile may ask for the same memory.
pub fn with_buffer<R>(n: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.len() < n {
            buffer.resize(n, 0.0);
        }
        f(&mut buffer[..n])
    })
}
