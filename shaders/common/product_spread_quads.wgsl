// Lane i of each four consecutive lanes gives its blocks of A, of upper and of lower rows, to those four.

fn spread0(block: mat4x4f) -> mat4x4f {
    return mat4x4f(quadBroadcast(block[0], 0u), quadBroadcast(block[1], 0u), quadBroadcast(block[2], 0u), quadBroadcast(block[3], 0u));
}

fn spread1(block: mat4x4f) -> mat4x4f {
    return mat4x4f(quadBroadcast(block[0], 1u), quadBroadcast(block[1], 1u), quadBroadcast(block[2], 1u), quadBroadcast(block[3], 1u));
}

fn spread2(block: mat4x4f) -> mat4x4f {
    return mat4x4f(quadBroadcast(block[0], 2u), quadBroadcast(block[1], 2u), quadBroadcast(block[2], 2u), quadBroadcast(block[3], 2u));
}

fn spread3(block: mat4x4f) -> mat4x4f {
    return mat4x4f(quadBroadcast(block[0], 3u), quadBroadcast(block[1], 3u), quadBroadcast(block[2], 3u), quadBroadcast(block[3], 3u));
}

fn spread4(block: mat4x4f) -> mat4x4f {
    return mat4x4f(quadBroadcast(block[0], 0u), quadBroadcast(block[1], 0u), quadBroadcast(block[2], 0u), quadBroadcast(block[3], 0u));
}

fn spread5(block: mat4x4f) -> mat4x4f {
    return mat4x4f(quadBroadcast(block[0], 1u), quadBroadcast(block[1], 1u), quadBroadcast(block[2], 1u), quadBroadcast(block[3], 1u));
}

fn spread6(block: mat4x4f) -> mat4x4f {
    return mat4x4f(quadBroadcast(block[0], 2u), quadBroadcast(block[1], 2u), quadBroadcast(block[2], 2u), quadBroadcast(block[3], 2u));
}

fn spread7(block: mat4x4f) -> mat4x4f {
    return mat4x4f(quadBroadcast(block[0], 3u), quadBroadcast(block[1], 3u), quadBroadcast(block[2], 3u), quadBroadcast(block[3], 3u));
}
