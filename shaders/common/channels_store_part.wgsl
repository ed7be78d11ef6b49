fn store(part: u32, c: u32, total: Part) {
    output[2u * part * C + c] = total.a;
    output[(2u * part + 1u) * C + c] = total.b;
}
