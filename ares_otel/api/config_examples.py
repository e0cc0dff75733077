"""An example of every answer and body of settings. A test validates them against the models."""

from __future__ import annotations

from typing import Any

_AT = "2026-01-31T12:00:00.123456Z"
_BEFORE = "2026-01-30T08:00:00.000000Z"

SETTING: dict[str, Any] = {
    "id": 10,
    "service_name": "orders",
    "config_key": "retry.limit",
    "config_value": 3,
    "description": "Times a payment is tried again",
    "is_encrypted": False,
    "version": 2,
    "last_updated": _AT,
    "updated_by": "alice",
    "created_at": _BEFORE,
}
SETTINGS: dict[str, Any] = {"service_name": "orders", "configs": [SETTING], "truncated": False, "revision": 12}
CHANGE: dict[str, Any] = {
    "id": 12,
    "service_name": "orders",
    "config_key": "retry.limit",
    "version": 2,
    "action": "change",
    "old_value": 2,
    "new_value": 3,
    "old_is_encrypted": False,
    "new_is_encrypted": False,
    "changed_by": "alice",
    "change_reason": "the provider is slow today",
    "changed_at": _AT,
}
HISTORY: dict[str, Any] = {"history": [CHANGE], "next": None}
DELETION: dict[str, Any] = {
    **CHANGE,
    "id": 13,
    "version": 3,
    "action": "delete",
    "old_value": 3,
    "new_value": None,
    "change_reason": "not used any more",
}
DOCUMENT: dict[str, Any] = {
    "service_name": "orders",
    "configs": [
        {
            "config_key": "payment.token",
            "encrypted_value": {
                "alg": "AES-256-GCM",
                "kid": "1f2e3d4c",
                "nonce": "bm9uY2Vub25jZQ==",
                "ct": "Y2lwaGVydGV4dA==",
            },
            "description": "",
            "is_encrypted": True,
            "version": 1,
        },
        {
            "config_key": "retry.limit",
            "config_value": 3,
            "description": "Times a payment is tried again",
            "is_encrypted": False,
            "version": 2,
        },
    ],
}
IMPORTED: dict[str, Any] = {
    "service_name": "orders",
    "dry_run": True,
    "mode": "merge",
    "changes": [
        {
            "config_key": "retry.limit",
            "action": "change",
            "old_value": 2,
            "new_value": 3,
            "old_version": 1,
            "version": 2,
        }
    ],
}
PUT_BODY: dict[str, Any] = {
    "value": 3,
    "updated_by": "alice",
    "reason": "the provider is slow today",
    "description": "Times a payment is tried again",
}
ROLLBACK_BODY: dict[str, Any] = {"version": 1, "updated_by": "alice", "reason": "3 was too much"}
DELETE_BODY: dict[str, Any] = {"updated_by": "alice", "reason": "not used any more"}
IMPORT_BODY: dict[str, Any] = {
    "service_name": "orders",
    "configs": [{"config_key": "retry.limit", "config_value": 3}],
    "updated_by": "alice",
    "reason": "move to the new cluster",
}
STREAM = (
    'id: 11\nevent: snapshot\ndata: {"service_name":"orders","configs":[],"truncated":false,"revision":9}\n\n'
    'id: 12\nevent: config\ndata: {"service":"orders","key":"retry.limit","version":2,"deleted":false,'
    f'"updated_by":"alice","at":"{_AT}","is_encrypted":false,"value":3}}\n\n'
)
