// In the place of CCCL's, of which CuPy's complex numbers use the namespace alone.
#pragma once
#define THRUST_NAMESPACE_BEGIN namespace thrust {
#define THRUST_NAMESPACE_END }
