#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "planish/tools/test/fake_session.h"
#include "planish/tools/trtexec/accuracy.h"

namespace planish::tools {
namespace {

/// A folder of its own per test, removed afterwards.
class TemporaryFolder {
 public:
  TemporaryFolder() : path_(std::filesystem::temp_directory_path() / ("planish_tools_" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

/// Replaces the folder's name, so that goldens do not depend on it.
std::string without_folder(std::string text, const TemporaryFolder& folder) {
  const std::string name = folder / "";
  for (size_t at = text.find(name); at != std::string::npos; at = text.find(name))
    text.replace(at, name.size(), "TMP/");
  return text;
}

TEST(Flow, BuildSaveAndMeasure) {
  const FakeRun run = run_fake({"--onnx=m.onnx", "--saveEngine=m.engine", "--dumpProfile", "--dumpLayerInfo",
                                "--duration=0", "--iterations=20", "--shapes=input:1x3x2x2"});
  EXPECT_EQ(run.exit_code, 0);
  expect_golden("build_and_measure.txt", run.out);
}

TEST(Flow, LoadAndMeasureVerbose) {
  const FakeRun run =
      run_fake({"--loadEngine=m.engine", "--duration=0", "--verbose", "--dumpOutput", "--percentile=50,99.9",
                "--dumpOptimizationProfile", "--dumpRefit", "--infStreams=1", "--profileColumns", "--dumpProfile"});
  EXPECT_EQ(run.exit_code, 0);
  expect_golden("load_and_measure.txt", run.out);
}

TEST(Flow, LongTraceOmitsTheMiddle) {
  const FakeRun run =
      run_fake({"--loadEngine=m.engine", "--duration=0", "--iterations=450", "--avgRuns=1", "--warmUp=0"});
  EXPECT_NE(run.out.find("... Omitting 50 lines"), std::string::npos);
  size_t lines = 0;
  for (size_t at = run.out.find("Average on 1 runs"); at != std::string::npos;
       at = run.out.find("Average on 1 runs", at + 1))
    ++lines;
  EXPECT_EQ(lines, 400u);
}

TEST(Flow, DurationCountsOnTopOfWarmUp) {
  const FakeRun run = run_fake({"--loadEngine=m.engine", "--iterations=100"});
  EXPECT_NE(run.out.find("Warmup completed 99 queries over 200 ms"), std::string::npos) << run.out;
  const size_t at = run.out.find("queries over ", run.out.find("Timing trace has"));
  ASSERT_NE(at, std::string::npos);
  EXPECT_NEAR(std::stod(run.out.substr(at + 13)), 3, 0.01) << "100 iterations still fill 3 s";
}

TEST(Flow, Exports) {
  const TemporaryFolder folder;
  const FakeRun run =
      run_fake({"--onnx=m.onnx", "--shapes=input:1x3x2x2", "--duration=0", "--iterations=3", "--warmUp=5",
                "--exportTimes=" + folder / "times.json", "--exportProfile=" + folder / "profile.json",
                "--exportLayerInfo=" + folder / "layers.json", "--exportOutput=" + folder / "output.json"});
  EXPECT_EQ(run.exit_code, 0) << run.out;
  expect_golden("times.json", read_file(folder / "times.json"));
  expect_golden("profile.json", read_file(folder / "profile.json"));
  expect_golden("layer_info.json", read_file(folder / "layers.json"));
  expect_golden("output.json", read_file(folder / "output.json"));
}

TEST(Flow, NamesOnlyLayerInfo) {
  const TemporaryFolder folder;
  const FakeRun run = run_fake({"--onnx=m.onnx", "--profilingVerbosity=layer_names_only", "--skipInference",
                                "--dumpLayerInfo", "--exportLayerInfo=" + folder / "layers.json"});
  EXPECT_NE(run.out.find("[I] Layers:\n[11/21/2026-10:00:00] [I] conv1 + relu1\n"), std::string::npos) << run.out;
  expect_golden("layer_info_names.json", read_file(folder / "layers.json"));
}

TEST(Flow, HelpAndNoArguments) {
  const FakeRun none = run_fake({});
  EXPECT_EQ(none.exit_code, 0);
  EXPECT_NE(none.out.find("&&&& PASSED TensorRT.trtexec [TensorRT v100300] # trtexec\n"), std::string::npos);
  const FakeRun help = run_fake({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_EQ(help.out.find("PASSED"), std::string::npos);
}

TEST(Flow, FailuresEndWithOneSentence) {
  struct Case {
    std::vector<std::string> words;
    std::string expected;
    bool has_banner = true;
  };
  const std::vector<Case> cases = {
      {{"--onxn=m.onnx"}, "[E] Unknown option: --onxn m.onnx (did you mean --onnx?)"},
      {{"--onnx=missing.onnx"}, "file 'missing.onnx': cannot be opened"},
      {{"--onnx=m.onnx", "--int8", "--calib=/nowhere/x"}, "'/nowhere/x' does not exist"},
      {{"--onnx=m.onnx", "--best", "--calib=nowhere.py:load"}, "'nowhere.py' does not exist"},
      {{"--onnx=m.onnx", "--int8", "--calib="}, "option '--calib': needs a value"},
      {{"--onnx=m.onnx", "--useDLACore=0", "--shapes=input:1x3x2x2"}, "Cannot create DLA engine: 1 of 3 layers"},
      {{"--onnx=m.onnx", "--device=1"}, "device 1 does not exist", false},
      {{"--onnx=m.onnx", "--shapes=inptu:1x3x2x2"}, "did you mean 'input'?"},
      {{"--onnx=m.onnx", "--shapes=input:1x4x2x2"}, "shape 1x4x2x2 was asked for, but the model fixes -1x3x2x2"},
      {{"--loadEngine=e", "--shapes=input:9x3x2x2"}, "axis 0: 9 was asked for, profile 0 allows 1 to 8"},
      {{"--loadEngine=e", "--useProfile=3"}, "profile 3 does not exist, the engine has 1"},
      {{"--loadEngine=e", "--loadInputs=input:/nowhere/x"}, "file '/nowhere/x', tensor 'input': cannot be read"},
      {{"--loadEngine=e", "--duration=0", "--exportTimes=/nowhere/x"},
       "file '/nowhere/x': there is no folder '/nowhere' to write it to"},
      {{"--onnx=m.onnx", "--timeDeserialize"}, "needs an engine file"},
      {{"--onnx=m.onnx", "--tuneBuildRoutes=-fp61=[on|off]"}, "'fp61' is not a knob. Fix: did you mean 'fp16'?"},
  };
  for (const Case& c : cases) {
    const FakeRun run = run_fake(c.words);
    EXPECT_EQ(run.exit_code, 1) << run.out;
    EXPECT_NE(run.out.find(c.expected), std::string::npos) << c.expected << "\n---\n" << run.out.substr(0, 4000);
    EXPECT_EQ(run.out.find("&&&& FAILED") != std::string::npos, c.has_banner) << c.expected;
  }
}

TEST(Flow, StaticModelWithShapes) {
  FakeTime time;
  FakeSession session(time);
  session.model.inputs[0].dims = {1, 3, 2, 2};
  FakeRun same = run_fake(session, time, {"--onnx=m.onnx", "--shapes=input:1x3x2x2", "--duration=0"});
  EXPECT_EQ(same.exit_code, 0);
  EXPECT_NE(same.out.find("input 'input' is static: the given shape 1x3x2x2 is the model's own"), std::string::npos);
  FakeRun other = run_fake(session, time, {"--onnx=m.onnx", "--shapes=input:4x3x2x2", "--duration=0"});
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_NE(other.out.find("export the model again with that axis dynamic"), std::string::npos);
  EXPECT_EQ(run_fake(session, time, {"--onnx=m.onnx", "--batch=1", "--duration=0"}).exit_code, 0);
  EXPECT_EQ(run_fake(session, time, {"--onnx=m.onnx", "--batch=2", "--duration=0"}).exit_code, 1);
}

TEST(Flow, LegacyBatchSetsTheOpenDimension) {
  const FakeRun run = run_fake({"--onnx=m.onnx", "--batch=4", "--workspace=64", "--duration=0"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_NE(run.out.find("Created input binding for input with dimensions 4x3x2x2"), std::string::npos) << run.out;
}

TEST(Flow, QuantizedModelNeedsNoCalibration) {
  FakeTime time;
  FakeSession session(time);
  session.model.has_quantize_nodes = true;
  const FakeRun run = run_fake(session, time, {"--onnx=qat.onnx", "--int8", "--shapes=input:1x3x2x2", "--duration=0"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_NE(run.out.find("the scales of the model's Q/DQ nodes are used"), std::string::npos);
  EXPECT_TRUE(session.last_build.build.precision.int8);
}

TEST(Flow, QuantizedModelDoesNotReadTheCalibration) {
  FakeTime time;
  FakeSession session(time);
  session.model.has_quantize_nodes = true;
  const FakeRun run =
      run_fake(session, time, {"--onnx=qat.onnx", "--int8", "--calib=.", "--shapes=input:1x3x2x2", "--duration=0"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_NE(run.out.find("Calibrator won't be used in explicit quantization mode"), std::string::npos) << run.out;
}

TEST(Flow, RangesAreNeverInventedInSilence) {
  const FakeRun run = run_fake({"--onnx=m.onnx", "--int8", "--shapes=input:1x3x2x2", "--duration=0"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_NE(run.out.find("[W] --int8 without --calib: ranges are INVENTED"), std::string::npos) << run.out;
  EXPECT_NE(run.out.find("trtexec --onnx=m.onnx --int8 --calib=FOLDER_OF_IMAGES"), std::string::npos);
  FakeTime time;
  FakeSession session(time);
  const FakeRun best = run_fake(session, time, {"--onnx=m.onnx", "--best", "--shapes=input:1x3x2x2", "--duration=0"});
  EXPECT_NE(best.out.find("INT8 does not, because the model has no Q/DQ nodes"), std::string::npos) << best.out;
  EXPECT_FALSE(session.last_build.build.precision.int8);
  run_fake(session, time, {"--onnx=m.onnx", "--best", "--calib=.", "--shapes=input:1x3x2x2", "--duration=0"});
  EXPECT_TRUE(session.last_build.build.precision.int8);
}

TEST(Flow, RefusedRandomIntegersFallBackToConstants) {
  FakeTime time;
  FakeSession session(time);
  session.model.inputs[0].dtype = DType::i64;
  session.refuses_random_integers = true;
  const FakeRun run = run_fake(session, time, {"--onnx=m.onnx", "--shapes=input:1x3x2x2", "--duration=0"});
  EXPECT_EQ(run.exit_code, 0) << run.out;
  EXPECT_NE(run.out.find("its integer inputs are all 1"), std::string::npos);
}

TEST(Flow, StreamsShareTheThreads) {
  FakeTime time;
  FakeSession session(time);
  run_fake(session, time, {"--onnx=m.onnx", "--cpuThreads=3", "--duration=0"});
  EXPECT_EQ(session.last_thread_count, 3);
}

TEST(Flow, LoadInputsRawAndNpy) {
  const TemporaryFolder folder;
  const std::vector<float> values(12, 0.25f);
  std::ofstream(folder / "x.bin", std::ios::binary).write(reinterpret_cast<const char*>(values.data()), 48);
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 2, 2), }";
  header.resize(117, ' ');
  header += '\n';
  std::string npy = std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(header.size()) + '\0' + header;
  npy.append(reinterpret_cast<const char*>(values.data()), 48);
  std::ofstream(folder / "x.npy", std::ios::binary) << npy;
  std::ofstream(folder / "short.bin", std::ios::binary) << "abc";
  for (const char* name : {"x.bin", "x.npy"}) {
    const FakeRun run =
        run_fake({"--loadEngine=e", "--loadInputs=input:" + folder / name, "--dumpOutput", "--duration=0"});
    EXPECT_NE(run.out.find("0.25 0.25 0.25 0.25"), std::string::npos) << run.out;
  }
  const FakeRun run = run_fake({"--loadEngine=e", "--loadInputs=input:" + folder / "short.bin", "--duration=0"});
  EXPECT_NE(run.out.find("holds 3 bytes, shape 1x3x2x2 of float32 needs 48"), std::string::npos) << run.out;
  for (size_t size = 0; size < npy.size(); size += 3) {
    std::ofstream(folder / "cut.npy", std::ios::binary) << npy.substr(0, size);
    EXPECT_EQ(run_fake({"--loadEngine=e", "--loadInputs=input:" + folder / "cut.npy", "--duration=0"}).exit_code, 1);
  }
}

TEST(Flow, AccuracyAgainstReferences) {
  const TemporaryFolder folder;
  const std::vector<float> input(12, 0.25f);
  const std::vector<float> good(4, 0.25f);
  const std::vector<float> bad(4, 0.75f);
  std::ofstream(folder / "in", std::ios::binary).write(reinterpret_cast<const char*>(input.data()), 48);
  std::ofstream(folder / "good", std::ios::binary).write(reinterpret_cast<const char*>(good.data()), 16);
  std::ofstream(folder / "bad", std::ios::binary).write(reinterpret_cast<const char*>(bad.data()), 16);
  const auto run = [&](const std::string& reference, const std::string& algorithm) {
    return run_fake({"--loadEngine=e", "--duration=0", "--refPair=0", "--loadInputs=input:" + folder / "in",
                     "--loadRefOutputs=prob:" + folder / reference, "--accuracyThreshold=0.1",
                     "--accuracyAlgorithm=" + algorithm});
  };
  EXPECT_EQ(run("good", "l0").exit_code, 0);
  for (const char* algorithm : {"l0", "l1", "l2", "lInf"}) EXPECT_EQ(run("bad", algorithm).exit_code, 1) << algorithm;
  EXPECT_EQ(run("bad", "cos").exit_code, 0) << "the cosine does not see scale";
  EXPECT_NE(run("bad", "l2").out.find("l2 loss = 0.25, threshold = 0.1: FAILED"), std::string::npos);
}

TEST(Flow, RawBindings) {
  HostTensor tensor{.record = {.name = "a/b:0", .dtype = DType::f16, .dims = {1, 3}}, .is_input = true, .data = {}};
  EXPECT_EQ(raw_file_name(tensor), "a_b_0.input.1.3.fp16.raw");
}

TEST(Flow, TuningSweepsKnobs) {
  const TemporaryFolder folder;
  FakeTime time;
  FakeSession session(time);
  const FakeRun run = run_fake(
      session, time,
      {"--onnx=m.onnx", "--shapes=input:1x3x2x2", "--duration=0", "--saveEngine=best.engine",
       "--tuneBuildRoutes=-fp16=[off|on] -builderOptimizationLevel=[1|2]", "--tuningCacheFile=" + folder / "cache"});
  EXPECT_EQ(run.exit_code, 0) << run.out;
  EXPECT_NE(run.out.find("Best route: --setBuildRoute=\"-fp16=on -builderOptimizationLevel=1\""), std::string::npos)
      << run.out;
  EXPECT_EQ(session.saved, std::vector<std::string>{"best.engine"});
  EXPECT_TRUE(session.last_build.build.precision.fp16);
  expect_golden("tuning_cache.jsonl", without_folder(read_file(folder / "cache"), folder));

  const FakeRun again = run_fake({"--continue", "--tuningCacheFile=" + folder / "cache"});
  EXPECT_EQ(again.exit_code, 0);
  EXPECT_EQ(again.out.find("TASK_BEGIN"), std::string::npos) << "every route is in the cache";
  const FakeRun dry = run_fake(
      {"--onnx=m.onnx", "--dryRun", "--tuningSearch=full", "--tuneBuildRoutes=-fp16=[off|on] -avgTiming=[1|2|3]"});
  EXPECT_NE(dry.out.find("6 routes:"), std::string::npos);
}

TEST(Flow, SeedCommandsRun) {
  const std::vector<std::vector<std::string>> lines = {
      {"--loadEngine=E", "--dumpProfile", "--dumpLayerInfo", "--avgRuns=100"},
      {"--onnx=M", "--fp16", "--saveEngine=E"},
      {"--onnx=M", "--saveEngine=E", "--dumpProfile", "--dumpLayerInfo"},
      {"--loadEngine=E", "--iterations=100", "--dumpProfile"},
      {"--onnx=M", "--saveEngine=E", "--minShapes=input:1x3x2x2"},
      {"--onnx=M", "--workspace=16", "--batch=1", "--verbose"},
  };
  for (const auto& words : lines) EXPECT_EQ(run_fake(words).exit_code, 0) << words[0];
}

TEST(Timing, PercentilesAsDefined) {
  std::vector<double> samples;
  for (int i = 1; i <= 10; ++i) samples.push_back(i);
  EXPECT_EQ(percentile(samples, 100), 10);
  EXPECT_EQ(percentile(samples, 90), 9);
  EXPECT_EQ(percentile(samples, 0), 1);
  EXPECT_EQ(percentile({}, 50), 0);
  EXPECT_EQ(median(samples), 5.5);
  const TimeStatistics s = time_statistics({1, 3}, {});
  EXPECT_EQ(s.variation_percent, 50);
}

}  // namespace
}  // namespace planish::tools
