// Random bits as a function of seed, step and position, with the same integer arithmetic as in src/ops/random.rs. The hash
// is lowbias32 (C. Wellons, <https://github.com/skeeto/hash-prospector>).

fn scramble(value: vec4u) -> vec4u {
    var x = value;
    x = (x ^ (x >> vec4u(16u))) * 0x7feb352du;
    x = (x ^ (x >> vec4u(15u))) * 0x846ca68bu;
    return x ^ (x >> vec4u(16u));
}

// Those of four elements from number `first` on, in step number `step`, from its picture number `picture` on.
fn random_bits(seed: u32, step: i32, picture: i32, per_picture: u32, first: u32) -> vec4u {
    let key = scramble(vec4u(seed));
    let step_key = scramble(key ^ vec4u(bitcast<u32>(step)));
    let start = bitcast<u32>(picture) * per_picture;
    let position = vec4u(start + first) + vec4u(0u, 1u, 2u, 3u);
    return scramble(scramble(position ^ key) + step_key);
}
