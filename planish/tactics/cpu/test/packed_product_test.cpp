// How products are shared out between threads.

#include "planish/tactics/cpu/packed_product.h"

#include <gtest/gtest.h>

namespace planish {
namespace {

constexpr ProductShape kShape{.m = 197, .k = 192, .n = 768, .panel = 48, .row_unit = 2, .overhead = 0.02};

TEST(ProductGrid, ReadsTheLeastMemoryWhereNothingElseIsAskedFor) {
  const ProductGrid grid(kShape, 2);
  EXPECT_EQ(grid.by_rows, 1);
  EXPECT_EQ(grid.by_panels, 2);
}

TEST(ProductGrid, GivesThreadsRowsOfTheirOwnWhereEachHasEnough) {
  ProductShape shape = kShape;
  shape.own_rows = 48;
  const ProductGrid grid(shape, 2);
  EXPECT_EQ(grid.by_rows, 2);
  EXPECT_EQ(grid.by_panels, 1);
  EXPECT_EQ(grid.rows, 100);
  EXPECT_EQ(grid.panels, 16);
}

TEST(ProductGrid, SharesPanelsWhereRowsAreFew) {
  ProductShape shape = kShape;
  shape.own_rows = 48;
  shape.m = 49;
  EXPECT_EQ(ProductGrid(shape, 2).by_rows, 1);
}

TEST(ProductGrid, CoversAllRowsAndPanels) {
  for (int threads = 1; threads <= 16; ++threads)
    for (const int64_t m : {1, 2, 49, 128, 197, 3136})
      for (const int64_t own : {0, 48}) {
        ProductShape shape = kShape;
        shape.m = m;
        shape.own_rows = own;
        const ProductGrid grid(shape, threads);
        EXPECT_GE(grid.by_rows * grid.rows, m);
        EXPECT_LT((grid.by_rows - 1) * grid.rows, m);
        EXPECT_GE(grid.by_panels * grid.panels, 16);
        EXPECT_LT((grid.by_panels - 1) * grid.panels, 16);
        EXPECT_LE(grid.by_rows * grid.by_panels, threads);
      }
}

}  // namespace
}  // namespace planish
