fn gather(first: u32, end: u32, step: u32, c: u32) -> Part {
    var total = Part(0.0, V(0.0), V(0.0));
    for (var i = first; i < end; i += step) {
        let n = f32(min(p.rows_per_item, p.rows - i * p.rows_per_item));
        total = combine(total, Part(n, parts[2u * i * C + c], parts[(2u * i + 1u) * C + c]));
    }
    return total;
}
