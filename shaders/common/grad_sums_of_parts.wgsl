fn gather(first: u32, end: u32, step: u32, c: u32) -> Part {
    var total = Part(0.0, V(0.0), V(0.0));
    for (var i = first; i < end; i += step) {
        total.a += parts[2u * i * C + c];
        total.b += parts[(2u * i + 1u) * C + c];
    }
    return total;
}
