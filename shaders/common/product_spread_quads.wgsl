// Lane i of each four consecutive lanes gives its blocks of A, of upper and of lower rows, to those four.

fn spread0(a: mat4x4f) -> mat4x4f {
    return mat4x4f(quadBroadcast(a[0], 0u), quadBroadcast(a[1], 0u), quadBroadcast(a[2], 0u), quadBroadcast(a[3], 0u));
}

fn spread1(a: mat4x4f) -> mat4x4f {
    return mat4x4f(quadBroadcast(a[0], 1u), quadBroadcast(a[1], 1u), quadBroadcast(a[2], 1u), quadBroadcast(a[3], 1u));
}

fn spread2(a: mat4x4f) -> mat4x4f {
    return mat4x4f(quadBroadcast(a[0], 2u), quadBroadcast(a[1], 2u), quadBroadcast(a[2], 2u), quadBroadcast(a[3], 2u));
}

fn spread3(a: mat4x4f) -> mat4x4f {
    return mat4x4f(quadBroadcast(a[0], 3u), quadBroadcast(a[1], 3u), quadBroadcast(a[2], 3u), quadBroadcast(a[3], 3u));
}

fn spread4(a: mat4x4f) -> mat4x4f {
    return mat4x4f(quadBroadcast(a[0], 0u), quadBroadcast(a[1], 0u), quadBroadcast(a[2], 0u), quadBroadcast(a[3], 0u));
}

fn spread5(a: mat4x4f) -> mat4x4f {
    return mat4x4f(quadBroadcast(a[0], 1u), quadBroadcast(a[1], 1u), quadBroadcast(a[2], 1u), quadBroadcast(a[3], 1u));
}

fn spread6(a: mat4x4f) -> mat4x4f {
    return mat4x4f(quadBroadcast(a[0], 2u), quadBroadcast(a[1], 2u), quadBroadcast(a[2], 2u), quadBroadcast(a[3], 2u));
}

fn spread7(a: mat4x4f) -> mat4x4f {
    return mat4x4f(quadBroadcast(a[0], 3u), quadBroadcast(a[1], 3u), quadBroadcast(a[2], 3u), quadBroadcast(a[3], 3u));
}
