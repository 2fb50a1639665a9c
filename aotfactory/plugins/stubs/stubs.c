/* SPDX-License-Identifier: Apache-2.0
 *
 * Link-time stubs of the three TensorRT libraries that NVIDIA's Python bindings are linked against, as CUDA ships one
 * of libcuda. They stand in for TensorRT's builder and ONNX parser where only the lean runtime is installed. Each
 * function says "not here" (null, 0) in the way that its caller in the bindings checks for. The lean library is loaded
 * first and with global symbols, so whatever it exports itself wins over the stub of the same name.
 *
 * Built once per library with -DSTUB_NVINFER, -DSTUB_NVINFER_PLUGIN or -DSTUB_NVONNXPARSER. No libc is needed.
 */
#define ABSENT(name)   \
    void *name(void)   \
    {                  \
        return (void *)0; \
    }

#ifdef STUB_NVINFER
ABSENT(createInferBuilder_INTERNAL)
ABSENT(createInferRefitter_INTERNAL)
ABSENT(createInferRuntime_INTERNAL)
ABSENT(getBuilderPluginRegistry)
ABSENT(getPluginRegistry)
#endif

#ifdef STUB_NVINFER_PLUGIN
ABSENT(initLibNvInferPlugins) /* returns bool: false */
#endif

#ifdef STUB_NVONNXPARSER
ABSENT(createNvOnnxParser_INTERNAL)
ABSENT(createNvOnnxParserRefitter_INTERNAL)
ABSENT(getNvOnnxParserVersion) /* returns int: 0 */
#endif
