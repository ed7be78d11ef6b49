// Stores columns one by one: [layers, rows, N], where N is no multiple of 4.
fn store(layer: u32, row: u32, column: u32, value: vec4f) {
    store_one(layer, row, column * 4u, value.x);
    store_one(layer, row, column * 4u + 1u, value.y);
    store_one(layer, row, column * 4u + 2u, value.z);
    store_one(layer, row, column * 4u + 3u, value.w);
}

fn store_one(layer: u32, row: u32, column: u32, value: f32) {
    if (row < p.rows && column < N) {
        let element = (layer * p.rows + row) * N + column;
        output[element] = epilogue(value, element, column);
    }
}
