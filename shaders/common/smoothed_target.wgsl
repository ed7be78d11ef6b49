// The targets of a cross-entropy: class ids (IDS is 1) or distributions, smoothed and weighted. The header defines
// Target (i32 or f32), IDS, CLASSES, KEEP = 1 - smoothing, SPREAD = smoothing / classes, and the function `weight`.

@group(0) @binding(2) var<storage, read> targets: array<Target>;    // [rows] or [rows, CLASSES]

// weight(c) times the smoothed target of class c; 0 throughout for an id that is no class.
fn weighted_target(row: u32, c: u32) -> f32 {
    if (IDS == 1u) {
        let id = u32(targets[row]);
        let target_here = select(0.0, KEEP, id == c) + SPREAD;
        return select(0.0, weight(c) * target_here, id < CLASSES);
    }
    return weight(c) * (KEEP * f32(targets[row * CLASSES + c]) + SPREAD);
}
