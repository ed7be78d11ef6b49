// Shifted by one of the elements: squares of what is left do not cancel, however large the mean.
fn gather(first: u32, end: u32, step: u32, c: u32) -> Part {
    let shift = input[min(first, p.items - 1u) * C + c];
    var n = 0.0;
    var sum = V(0.0);
    var squares = V(0.0);
    for (var r = first; r < end; r += step) {
        let x = input[r * C + c] - shift;
        n += 1.0;
        sum += x;
        squares += x * x;
    }
    let mean = sum / max(n, 1.0);
    return Part(n, shift + mean, max(squares - sum * mean, V(0.0)));
}
