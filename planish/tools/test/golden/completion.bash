# bash completion for planish; written by `planish completion bash`.
_planish_complete() {
  local words="$1" cur prev cut
  cur="${COMP_WORDS[COMP_CWORD]}"
  prev="${COMP_WORDS[COMP_CWORD-1]}"
  cut=""
  if [[ "$cur" == "=" ]]; then cut="$prev="; cur=""
  elif [[ "$prev" == "=" ]]; then cut="${COMP_WORDS[COMP_CWORD-2]}="; fi
  COMPREPLY=()
  local word
  for word in $words; do
    [[ "$word" == "$cut$cur"* && "$word" != "$cut" ]] && COMPREPLY+=("${word#"$cut"}")
  done
  if [[ ${#COMPREPLY[@]} -eq 0 ]]; then COMPREPLY=($(compgen -f -- "$cur")); fi
  [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" == *= ]] && compopt -o nospace
}
_planish_trtexec() { _planish_complete '--onnx= --help --minShapes= --optShapes= --maxShapes= --profile= --minShapesCalib= --optShapesCalib= --maxShapesCalib= --calibProfile= --inputIOFormats= --outputIOFormats= --memPoolSize= --profilingVerbosity=layer_names_only --profilingVerbosity=detailed --profilingVerbosity=none --avgTiming= --refit --stripWeights --stripAllWeights --weightless --versionCompatible --vc --pluginInstanceNorm --pi --uint8AsymmetricQuantizationDLA --reportCapabilityDLA --adjustForDLA --enablePluginOverride --useRuntime=full --useRuntime=lean --useRuntime=dispatch --leanDLLPath= --excludeLeanRuntime --monitorMemory --sparsity=disable --sparsity=enable --sparsity=force --noTF32 --fp16 --bf16 --int8 --fp8 --int4 --best --stronglyTyped --directIO --precisionConstraints=none --precisionConstraints=prefer --precisionConstraints=obey --layerPrecisions= --layerOutputTypes= --layerDeviceTypes= --decomposableAttentions= --calib= --consistency --restricted --dumpKernelText --allowGPUFallback --saveEngine= --loadEngine= --getPlanVersionOnly --asyncFileReader --tacticSources= --noBuilderCache --noCompilationCache --errorOnTimingCacheMiss --timingCacheFile= --preview= --builderOptimizationLevel= --maxTactics= --hardwareCompatibilityLevel=none --hardwareCompatibilityLevel=ampere+ --hardwareCompatibilityLevel=sameComputeCapability --runtimePlatform=SameAsBuild --runtimePlatform=WindowsAMD64 --tempdir= --tempfileControls= --maxAuxStreams= --allowWeightStreaming --markDebug= --markUnfusedTensorsAsDebugTensors --tilingOptimizationLevel= --l2LimitForTiling= --remoteAutoTuningConfig= --refitFromOnnx --cpuOnly --distributiveIndependence --device=N --device=cpu --useDLACore= --staticPlugins= --dynamicPlugins= --setPluginsToSerialize= --ignoreParsedPluginLibs --safetyPlugins= --plugins= --shapes= --loadInputs= --iterations= --warmUp= --duration= --sleepTime= --idleTime= --infStreams= --streams= --exposeDMA --noDataTransfers --includeDataTransfers --useManagedMemory --useSpinWait --noSpinWait --threads --useCudaGraph --noCudaGraph --timeDeserialize --timeRefit --separateProfileRun --skipInference --persistentCacheRatio= --useProfile= --allocationStrategy=static --allocationStrategy=profile --allocationStrategy=runtime --weightStreamingBudget= --saveDebugTensors= --saveAllDebugTensors= --loadRefOutputs= --accuracyAlgorithm=l0 --accuracyAlgorithm=l1 --accuracyAlgorithm=l2 --accuracyAlgorithm=lInf --accuracyAlgorithm=cos --atol= --rtol= --accuracyThreshold= --refPair= --tuneBuildRoutes= --tuneBuildRouteFile= --tuningSearch=fast --tuningSearch=full --tuningSearch=mixed --tuningCacheFile= --tuningTimeOut= --saveAllEngines --dryRun --continue --helpBuildRoute --setBuildRoute= --verbose --avgRuns= --percentile= --dumpRefit --dumpOutput --dumpRawBindingsToFile --dumpProfile --dumpLayerInfo --dumpOptimizationProfile --exportTimes= --exportOutput= --exportProfile= --exportLayerInfo= --workspace= --batch= --maxBatch= --explicitBatch --explicitPrecision --buildOnly --minTiming= --nvtxMode=default --nvtxMode=verbose --nvtxMode=none --heuristic --cpuThreads= --retune --disablePasses= --seed= --calibPreset=NAME --calibPreset=FILE --calibMethod=auto --calibMethod=entropy --calibMethod=minmax --calibMethod=percentile --calibMethod=mse --calibPercentile= --calibSamples= --calibMaxBad= --calibScriptTimeout= --calibCache= --profileColumns'; }
complete -o filenames -F _planish_trtexec trtexec
_planish_polygraphy() { _planish_complete 'inspect model -h --help -v --verbose -q --quiet --verbosity --silent --log-format --log-file --model-type --show --convert-to --display-as --list-unbounded-dds --mode --layer-info --combine-tensor-info --visual --visual-port --save-visual --ckpt --freeze-graph --shape-inference --no-onnxruntime-shape-inference --external-data-dir --ignore-external-data --fp-to-fp16 --plugins --layer-precisions --decomposable-attentions --tensor-dtypes --all-tensor-dtypes --tensor-formats --all-tensor-formats --trt-network-postprocess-script --strongly-typed --mark-debug --mark-unfused-tensors-as-debug-tensors --save-timing-cache --load-runtime --dla-workspace-allocation-strategy --onnx-flags --plugin-instancenorm --enable-uint8-asymmetric-quantization-dla layers attrs weights'; }
complete -o filenames -F _planish_polygraphy polygraphy
_planish_build() { _planish_complete '--help --output= --shapes= --minShapes= --optShapes= --maxShapes= --fp16 --bf16 --best --builderOptimizationLevel= --threads= --layerPrecisions= --precisionConstraints=none --precisionConstraints=prefer --precisionConstraints=obey --avgTiming= --disable-pass= --stop-after-pass= --dump-passes= --timing-cache= --no-timing-cache --memPoolSize= --int8 --calib= --preset= --preprocess= --method=auto --method=entropy --method=minmax --method=percentile --method=mse --percentile= --calib-samples= --calib-batch= --max-bad= --script-timeout= --calib-cache= --retune='; }
_planish_run() { _planish_complete '--help --input= --output= --preset= --preprocess= --labels= --shapes= --minShapes= --optShapes= --maxShapes= --fp16 --bf16 --best --builderOptimizationLevel= --threads='; }
_planish_bench() { _planish_complete '--help --iterations= --warmUp= --duration= --streams= --json= --shapes= --minShapes= --optShapes= --maxShapes= --fp16 --bf16 --best --builderOptimizationLevel= --threads='; }
_planish_inspect() { _planish_complete '--help --layers --profile --rounds= --shapes= --threads= --json'; }
_planish_compare() { _planish_complete '--help --rounds= --sort=execution --sort=delta --json= --csv= --md= --shapes= --minShapes= --optShapes= --maxShapes= --fp16 --bf16 --best --builderOptimizationLevel= --threads='; }
_planish_eval() { _planish_complete '--help --data= --preset= --preprocess= --limit= --batch= --output= --confidence= --iou= --json= --predictions= --shapes= --minShapes= --optShapes= --maxShapes= --fp16 --bf16 --best --builderOptimizationLevel= --threads='; }
_planish_quantize() { _planish_complete '--help --output= --calib= --preset= --preprocess= --method=auto --method=entropy --method=minmax --method=percentile --method=mse --percentile= --calib-samples= --calib-batch= --max-bad= --script-timeout= --calib-cache= --style=tensorrt --style=onnxruntime --style=openvino --rounding=nearest --rounding=adaptive --per-tensor --no-bias-correction --equalize --keep-float= --force-int8= --max-drop= --eval= --eval-samples= --data= --time-limit= --to-static --report= --shapes= --minShapes= --optShapes= --maxShapes= --fp16 --bf16 --best --builderOptimizationLevel= --threads='; }
_planish_convert() { _planish_complete '--help --fp16 --bf16 --output= --keep-float= --half-io'; }
_planish_cache() { _planish_complete 'show edit convert --help --output= --set= --remove= --rename= --scale-by= --header= --json --csv'; }
_planish_sensitivity() { _planish_complete '--help --calib= --preset= --preprocess= --method=auto --method=entropy --method=minmax --method=percentile --method=mse --percentile= --calib-samples= --calib-batch= --max-bad= --script-timeout= --calib-cache= --data= --samples= --eval= --eval-samples= --time-limit= --top= --no-times --format=text --format=markdown --format=csv --json= --histograms= --shapes= --minShapes= --optShapes= --maxShapes= --fp16 --bf16 --best --builderOptimizationLevel= --threads='; }
_planish_compare_precisions() { _planish_complete '--help --calib= --preset= --preprocess= --method=auto --method=entropy --method=minmax --method=percentile --method=mse --percentile= --calib-samples= --calib-batch= --max-bad= --script-timeout= --calib-cache= --eval= --eval-samples= --precisions= --duration= --format=text --format=markdown --format=csv --format=json --output= --save= --shapes= --minShapes= --optShapes= --maxShapes= --fp16 --bf16 --best --builderOptimizationLevel= --threads='; }
_planish_completion() { _planish_complete 'bash'; }
_planish_flags_doc() { _planish_complete ''; }
_planish() {
  if [[ $COMP_CWORD -eq 1 ]]; then _planish_complete 'trtexec polygraphy build run bench inspect compare eval quantize convert cache sensitivity compare-precisions completion flags-doc'; return; fi
  case "${COMP_WORDS[1]}" in
    trtexec) _planish_trtexec ;;
    polygraphy) _planish_polygraphy ;;
    build) _planish_build ;;
    run) _planish_run ;;
    bench) _planish_bench ;;
    inspect) _planish_inspect ;;
    compare) _planish_compare ;;
    eval) _planish_eval ;;
    quantize) _planish_quantize ;;
    convert) _planish_convert ;;
    cache) _planish_cache ;;
    sensitivity) _planish_sensitivity ;;
    compare-precisions) _planish_compare_precisions ;;
    completion) _planish_completion ;;
    flags-doc) _planish_flags_doc ;;
  esac
}
complete -o filenames -F _planish planish
