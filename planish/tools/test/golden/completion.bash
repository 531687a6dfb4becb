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
_planish_trtexec() { _planish_complete '--onnx= --help --minShapes= --optShapes= --maxShapes= --profile= --minShapesCalib= --optShapesCalib= --maxShapesCalib= --calibProfile= --inputIOFormats= --outputIOFormats= --memPoolSize= --profilingVerbosity=layer_names_only --profilingVerbosity=detailed --profilingVerbosity=none --avgTiming= --refit --stripWeights --stripAllWeights --weightless --versionCompatible --vc --pluginInstanceNorm --pi --uint8AsymmetricQuantizationDLA --reportCapabilityDLA --adjustForDLA --enablePluginOverride --useRuntime=full --useRuntime=lean --useRuntime=dispatch --leanDLLPath= --excludeLeanRuntime --monitorMemory --sparsity=disable --sparsity=enable --sparsity=force --noTF32 --fp16 --bf16 --int8 --fp8 --int4 --best --stronglyTyped --directIO --precisionConstraints=none --precisionConstraints=prefer --precisionConstraints=obey --layerPrecisions= --layerOutputTypes= --layerDeviceTypes= --decomposableAttentions= --calib= --consistency --restricted --dumpKernelText --allowGPUFallback --saveEngine= --loadEngine= --getPlanVersionOnly --asyncFileReader --tacticSources= --noBuilderCache --noCompilationCache --errorOnTimingCacheMiss --timingCacheFile= --preview= --builderOptimizationLevel= --maxTactics= --hardwareCompatibilityLevel=none --hardwareCompatibilityLevel=ampere+ --hardwareCompatibilityLevel=sameComputeCapability --runtimePlatform=SameAsBuild --runtimePlatform=WindowsAMD64 --tempdir= --tempfileControls= --maxAuxStreams= --allowWeightStreaming --markDebug= --markUnfusedTensorsAsDebugTensors --tilingOptimizationLevel= --l2LimitForTiling= --remoteAutoTuningConfig= --refitFromOnnx --cpuOnly --distributiveIndependence --device=N --device=cpu --useDLACore= --staticPlugins= --dynamicPlugins= --setPluginsToSerialize= --ignoreParsedPluginLibs --safetyPlugins= --plugins= --shapes= --loadInputs= --iterations= --warmUp= --duration= --sleepTime= --idleTime= --infStreams= --streams= --exposeDMA --noDataTransfers --includeDataTransfers --useManagedMemory --useSpinWait --noSpinWait --threads --useCudaGraph --noCudaGraph --timeDeserialize --timeRefit --separateProfileRun --skipInference --persistentCacheRatio= --useProfile= --allocationStrategy=static --allocationStrategy=profile --allocationStrategy=runtime --weightStreamingBudget= --saveDebugTensors= --saveAllDebugTensors= --loadRefOutputs= --accuracyAlgorithm=l0 --accuracyAlgorithm=l1 --accuracyAlgorithm=l2 --accuracyAlgorithm=lInf --accuracyAlgorithm=cos --atol= --rtol= --accuracyThreshold= --refPair= --tuneBuildRoutes= --tuneBuildRouteFile= --tuningSearch=fast --tuningSearch=full --tuningSearch=mixed --tuningCacheFile= --tuningTimeOut= --saveAllEngines --dryRun --continue --helpBuildRoute --setBuildRoute= --verbose --avgRuns= --percentile= --dumpRefit --dumpOutput --dumpRawBindingsToFile --dumpProfile --dumpLayerInfo --dumpOptimizationProfile --exportTimes= --exportOutput= --exportProfile= --exportLayerInfo= --workspace= --batch= --maxBatch= --explicitBatch --explicitPrecision --buildOnly --minTiming= --nvtxMode=default --nvtxMode=verbose --nvtxMode=none --heuristic --cpuThreads= --retune --disablePasses= --seed= --profileColumns'; }
complete -o filenames -F _planish_trtexec trtexec
_planish_completion() { _planish_complete 'bash'; }
_planish_flags_doc() { _planish_complete ''; }
_planish() {
  if [[ $COMP_CWORD -eq 1 ]]; then _planish_complete 'trtexec completion flags-doc'; return; fi
  case "${COMP_WORDS[1]}" in
    trtexec) _planish_trtexec ;;
    completion) _planish_completion ;;
    flags-doc) _planish_flags_doc ;;
  esac
}
complete -o filenames -F _planish planish
