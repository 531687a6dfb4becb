#include "planish/quant/dynamic_to_static.h"

#include "planish/api/model_impl.h"
#include "planish/api/quantize.h"

namespace planish::api {

Result<Model> dynamic_to_static(const Model& model, DynamicReport* report) {
  StaticForm form = PLANISH_TRY(planish::dynamic_to_static(ModelAccess::impl(model).model.graph));
  if (report != nullptr) *report = {form.products, form.left};
  return ModelAccess::with_graph(model, std::move(form.graph));
}

}  // namespace planish::api
