"""Everything of MiniStack's that this package uses, and the check that it is unchanged.

MiniStack has no plug-in interface, so its functions are called and replaced by name. `INTERNALS` and `STORES`
name each of them. The local cloud refuses to start with a MiniStack that differs, and a test fails. After an
upgrade of MiniStack, `moved()` lists the names to review.
"""

import importlib
import importlib.metadata
import inspect
from typing import Any

from localcloud.ministack.lambda_functions.worker_script import SCRIPT_CHANGES

VERSION = "1.5.33"

INTERNALS = {
    "ministack.app:app": "(scope, receive, send)",
    "ministack.app:_credential_failure": "(service, iam_action, request_id, denied, headers)",
    "ministack.app:fix_error_content_type": "(service, status, headers)",
    "ministack.app:fix_success_content_type": "(service, status, headers)",
    "ministack.app:pin_request_origin": "(source_ip, secure_transport)",
    "ministack.app:_parse_execute_api_url": "(host, path)",
    "ministack.core.iam_actions:dynamodb_service_context": "(body)",
    "ministack.core.iam_actions:extract_resource_arn": (
        "(service, method, path, headers, body, query_params, region, account_id)"
    ),
    "ministack.core.iam_actions:identity_denial_message": "(action, principal_arn, resource, explicit_deny)",
    "ministack.core.iam_evaluator:_gather_role_policies": "(role_name, account_id)",
    "ministack.core.iam_evaluator:_permissions_boundary": "(store, name, account_id)",
    "ministack.core.iam_evaluator:_service_principal_matches": "(principal, service)",
    "ministack.core.iam_evaluator:enforce": (
        "(access_key_id, iam_action, service, region, resource_arn, service_context)"
    ),
    "ministack.core.iam_evaluator:evaluate": "(ctx, policies, limits)",
    "ministack.core.iam_evaluator:evaluate_resource_policy": "(doc, ctx, service, named_only, direct_only)",
    "ministack.core.iam_evaluator:is_root_access_key": "(access_key_id)",
    "ministack.core.lambda_runtime:Worker._drain_stderr_bounded": (
        "(self, first_line_wait, idle_confirm, hard_cap)"
    ),
    "ministack.core.lambda_runtime:Worker._spawn": "(self)",
    "ministack.core.lambda_runtime:Worker.invoke": (
        "(self, event, request_id, trace_id, depth, durable, invoked_function_arn)"
    ),
    "ministack.core.lambda_runtime:execution_credentials": "(config)",
    "ministack.core.lambda_runtime:reset": "()",
    "ministack.core.responses:get_region": "()",
    "ministack.core.responses:request_scope": "(account_id, region)",
    "ministack.core.router:detect_service": "(method, path, headers, query_params)",
    "ministack.core.router:extract_access_key_id": "(headers, query_params)",
    "ministack.core.sigv4:decode_header_value": "(value)",
    "ministack.services.apigateway_v1:_call_lambda_raw": "(function_ref, event, account_id, region)",
    "ministack.services.apigateway_v1:_execute_in_scope": (
        "(request, api_id, stage_name, method, path, headers, body, query_params, owner_account_id, "
        "owner_region)"
    ),
    "ministack.services.apigateway_v1:_gateway_error_response": "(error, request)",
    "ministack.services.apigateway_v1:_gw_error": "(response_type, message)",
    "ministack.services.apigateway_v1:_import_rest_api": "(spec, base_data)",
    "ministack.services.apigateway_v1:_lambda_proxy_response": "(result)",
    "ministack.services.apigateway_v1:_put_gateway_response": "(api_id, response_type, data)",
    "ministack.services.cloudformation.custom_resource:_normalise_resource_properties": "(value)",
    "ministack.services.cloudformation.custom_resource:_response_url": "(token)",
    "ministack.services.cloudformation.custom_resource:invoke_custom_resource": (
        "(request_type, logical_id, props, stack_name, stack_id, resource_type, physical_id, old_props)"
    ),
    "ministack.services.cloudformation.custom_resource:register_token": "(token)",
    "ministack.services.cloudformation.changesets:_evaluate_conditions": "(template, params)",
    "ministack.services.cloudformation.engine:_evaluate_conditions": "(template, params)",
    "ministack.services.cloudformation.engine:_resolve_refs": (
        "(value, resources, params, conditions, mappings, stack_name, stack_id)"
    ),
    "ministack.services.cloudformation.handlers:_evaluate_conditions": "(template, params)",
    "ministack.services.cloudformation.stacks:_evaluate_conditions": "(template, params)",
    "ministack.services.cloudformation.engine:_extract_deps": "(resource_def, all_resource_names)",
    "ministack.services.cloudformation.provisioners:_physical_name": (
        "(stack_name, logical_id, lowercase, max_len, seeded)"
    ),
    "ministack.services.cloudformation.provisioners:_s3_create": "(logical_id, props, stack_name)",
    "ministack.services.cloudformation.stacks:_delete_resource": (
        "(resource_type, physical_id, props, stack_name, logical_id)"
    ),
    "ministack.services.cloudformation.stacks:_resolve_stack_outputs": (
        "(outputs_defs, conditions, resources, param_values, mappings, stack_name, stack_id)"
    ),
    "ministack.services.cloudwatch:_calc_stats": "(points)",
    "ministack.services.cloudwatch:_dims_from_list": "(dimensions)",
    "ministack.services.cloudwatch:_dims_key": "(dims)",
    "ministack.services.cloudwatch:_dispatch_alarm_actions": "(alarm, old_state, new_state, reason)",
    "ministack.services.cloudwatch:_evaluate_alarm": "(alarm)",
    "ministack.services.cloudwatch:_evaluate_all_alarms": "()",
    "ministack.services.cloudwatch:_evaluate_parent_alarms": "(child, seen)",
    "ministack.services.cloudwatch:_record_history": (
        "(alarm_name, old_state, new_state, reason, alarm_type, reason_data)"
    ),
    "ministack.services.cloudwatch:_stat_value": "(stats, stat_name, points)",
    "ministack.services.cloudwatch:_store_datum": (
        "(namespace, name, dims, ts, unit, value, values, counts, stat_values)"
    ),
    "ministack.services.cloudwatch:record_metric": "(namespace, metric_name, value, unit, dimensions)",
    "ministack.services.cloudwatch_logs:_append_log_events": "(stream, events)",
    "ministack.services.cloudwatch:_metric_bucket": "(key)",
    "ministack.services.cloudwatch_logs:_create_log_group": "(data)",
    "ministack.services.cloudwatch_logs:_create_log_stream": "(data)",
    "ministack.services.cloudwatch_logs:_put_log_events": "(data)",
    "ministack.services.eventbridge:_cron_next_fire": "(fields, after_dt)",
    "ministack.services.eventbridge:_dispatch_event": "(event, view)",
    "ministack.services.eventbridge:_dispatch_to_lambda": "(arn, payload)",
    "ministack.services.eventbridge:_dispatch_to_stepfunctions": "(arn, payload)",
    "ministack.services.eventbridge:_invoke_target": "(target, event, rule, view)",
    "ministack.services.eventbridge:_parse_cron_fields": "(expr)",
    "ministack.services.eventbridge:_parse_rate_seconds": "(expr)",
    "ministack.services.eventbridge:_put_events": "(data, allow_aws_source)",
    "ministack.services.iam:handle_request": "(method, path, headers, body, query_params)",
    "ministack.services.lambda_svc:_execute_function": "(func, event)",
    "ministack.services.lambda_svc:_execute_function_warm": "(func, event, request_id)",
    "ministack.services.lambda_svc:_execution_record_for_config": "(func, config)",
    "ministack.services.lambda_svc:_get_func_record_for_ref": "(function_ref)",
    "ministack.services.lambda_svc:_probe_peak_memory_mb": "(func)",
    "ministack.services.lambda_svc:_resolve_layer_zip": "(attachment)",
    "ministack.services.lambda_svc:execution_credentials": "(config)",
    "ministack.services.lambda_svc:function_policy_for_arn": "(resource_arn)",
    "ministack.services.lambda_svc:invoke_async_with_retry": "(func, event)",
    "ministack.services.s3:_get_object": "(bucket_name, key, headers, query_params)",
    "ministack.services.s3:_object_disk_path": "(bucket, key, account_id)",
    "ministack.services.s3:_read_body": "(bucket_name, key, obj)",
    "ministack.services.s3:_resolve_sse_write_headers": "(headers, bucket_name)",
    "ministack.services.s3:_version_entry_from_record": "(obj, version_id, data)",
    "ministack.services.s3:_fire_s3_event": (
        "(bucket_name, key, event_name, size, etag, deletion_type, restore_event_data, version_id, "
        "sequencer, object_extra, record_extra)"
    ),
    "ministack.services.s3:_validate_bucket_name": "(name)",
    "ministack.services.scheduler:_create_schedule": "(name, body)",
    "ministack.services.scheduler:_create_schedule_group": "(name, body)",
    "ministack.services.scheduler:_delete_schedule": "(name, query)",
    "ministack.services.scheduler:_tick_schedules": "()",
    "ministack.services.scheduler:_update_schedule": "(name, body)",
    "ministack.services.scheduler:handle_request": "(method, path, headers, body_bytes, query_params)",
    "ministack.services.stepfunctions:_add_event": "(execution, event_type, details)",
    "ministack.services.stepfunctions:_apply_jsonata_arguments": "(state_def, raw_input, ctx)",
    "ministack.services.stepfunctions:_apply_jsonata_template": (
        "(value, raw_input, ctx, result, error_output)"
    ),
    "ministack.services.stepfunctions:_apply_state_assign": (
        "(state_def, raw_input, ctx, result, error_output)"
    ),
    "ministack.services.stepfunctions:_apply_catcher": (
        "(catcher, raw_input, ctx, query_language, error_output)"
    ),
    "ministack.services.stepfunctions:_apply_jsonata_output": (
        "(state_def, raw_input, ctx, result, error_output, default)"
    ),
    "ministack.services.stepfunctions:_call_lambda": "(func_ref, event)",
    "ministack.services.stepfunctions:_emit_execution_status_event": "(execution)",
    "ministack.services.stepfunctions:_fail_execution": "(execution, error, cause)",
    "ministack.services.stepfunctions:_find_matching_catcher": "(catchers, error)",
    "ministack.services.stepfunctions:_find_matching_retrier": "(retriers, error, retry_counts)",
    "ministack.services.stepfunctions:_invoke_resource": "(resource, input_data)",
    "ministack.services.stepfunctions:_invoke_resource_with_timeout": "(resource, input_data, timeout)",
    "ministack.services.stepfunctions:_invoke_with_callback": "(resource, input_data, token, state_def)",
    "ministack.services.stepfunctions:_list_executions": "(data)",
    "ministack.services.stepfunctions:_resolve_lambda_function_ref": "(value, optimized)",
    "ministack.services.stepfunctions:_resolve_state_machine_arn": "(arn)",
    "ministack.services.stepfunctions:_read_map_items": "(reader, effective, ctx)",
    "ministack.services.stepfunctions:_run_distributed_map": (
        "(state_def, raw_input, effective, iterator, execution, ctx)"
    ),
    "ministack.services.stepfunctions:_run_execution": "(exec_arn)",
    "ministack.services.stepfunctions:_run_sub_machine": "(states, start_at, input_data, execution, ctx)",
    "ministack.services.stepfunctions:_scaled_sleep": "(seconds)",
    "ministack.services.stepfunctions:_send_task_failure": "(data)",
    "ministack.services.stepfunctions:_send_task_heartbeat": "(data)",
    "ministack.services.stepfunctions:_send_task_success": "(data)",
    "ministack.services.stepfunctions:_start_execution": "(data)",
    "ministack.services.stepfunctions:_start_sync_execution": "(data)",
    "ministack.services.stepfunctions:_state_query_language": "(state_def, ctx)",
    "ministack.services.stepfunctions:_stop_execution": "(data)",
    "ministack.services.stepfunctions:_test_state": "(data)",
    "ministack.services.stepfunctions:json_response": "(data, status, content_type)",
    "ministack.services.sts:register_session": "(access_key, session)",
}
"""The functions that are called or replaced here, as module:name, with the names of their parameters."""

STORES = (
    "ministack.app:SERVICE_HANDLERS",
    "ministack.core.iam_evaluator:AuthError",
    "ministack.core.iam_evaluator:EvalContext",
    "ministack.core.lambda_runtime:_PYTHON_WORKER_SCRIPT",
    "ministack.core.lambda_runtime:subprocess.Popen",
    "ministack.core.router:SERVICE_PATTERNS",
    "ministack.services.apigateway_v1:_account_settings",
    "ministack.services.cloudformation.custom_resource:_pending",
    "ministack.services.cloudformation.provisioners:_RESOURCE_HANDLERS",
    "ministack.services.cloudformation:_stacks",
    "ministack.services.cloudwatch:_metrics",
    "ministack.services.dynamodb:_tables",
    "ministack.services.cloudwatch:_alarms",
    "ministack.services.cloudwatch:_composite_alarms",
    "ministack.services.iam:_access_keys",
    "ministack.services.iam:_roles",
    "ministack.services.lambda_svc:_LAMBDA_ASYNC_RETRY_BASE_SECONDS",
    "ministack.services.lambda_svc:_functions",
    "ministack.services.scheduler:_SCHEDULE_TICK_INTERVAL",
    "ministack.services.scheduler:_schedules",
    "ministack.services.stepfunctions:_ExecutionError",
    "ministack.services.stepfunctions:_SFN_WAIT_SCALE",
    "ministack.services.stepfunctions:_executions",
    "ministack.services.stepfunctions:_map_runs",
    "ministack.services.stepfunctions:_state_machines",
    "ministack.services.stepfunctions:_task_tokens",
    "ministack.services.sts:_sessions",
    "ministack.services.tagging:_RESOURCE_TAG_COLLECTORS",
)
"""The tables, classes and texts that are read or written here."""


class MiniStackMoved(RuntimeError):
    """The installed MiniStack is not the one that this package was written for."""


def moved() -> list[str]:
    """Return the differences between the installed MiniStack and the one this package was written for."""
    differences = []
    installed = importlib.metadata.version("ministack")
    if installed != VERSION:
        differences.append(f"version is {installed}, not {VERSION}")
    for name, parameters in INTERNALS.items():
        target = _internal(name)
        if target is None:
            differences.append(f"{name} is gone")
        elif (actual := f"({', '.join(inspect.signature(target).parameters)})") != parameters:
            differences.append(f"{name} takes {actual}, not {parameters}")
    differences += [f"{name} is gone" for name in STORES if _internal(name) is None]
    script = str(_internal("ministack.core.lambda_runtime:_PYTHON_WORKER_SCRIPT"))
    differences += [
        f"the Lambda worker's script lacks {old.strip()!r}"
        for old, _ in SCRIPT_CHANGES
        if script.count(old) != 1
    ]
    return differences


def raise_if_moved() -> None:
    """Raise MiniStackMoved with every difference, if there is any."""
    if differences := moved():
        raise MiniStackMoved(
            f"Lexline's local cloud needs MiniStack {VERSION}, but the installed one differs. Install "
            f"ministack=={VERSION}. The differences: " + "; ".join(differences)
        )


def _internal(name: str) -> Any:
    module, _, path = name.partition(":")
    try:
        target: Any = importlib.import_module(module)
    except ImportError:
        return None
    for part in path.split("."):
        target = getattr(target, part, None)
    return target
