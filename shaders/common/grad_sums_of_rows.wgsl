fn gather(first: u32, end: u32, step: u32, c: u32) -> Part {
    let mean = statistics[c];
    var total = Part(0.0, V(0.0), V(0.0));
    for (var r = first; r < end; r += step) {
        let g = grad[r * C + c];
        total.a += g;
        total.b += g * (input[r * C + c] - mean);
    }
    return total;
}
