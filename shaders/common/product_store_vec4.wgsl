// Stores four columns at once: [layers, rows, N4].
fn store(layer: u32, row: u32, column: u32, value: vec4f) {
    if (row < p.rows && column < N4) {
        let element = (layer * p.rows + row) * N4 + column;
        output[element] = epilogue(value, element, column);
    }
}
