#pragma once

/* What `lvm pvs --reportformat json_std` says, and the pools in it by their tags. Private to the files of lvm. */

#include "kernel/lvm.h"

#include <systemd/sd-json.h>

#define LVM_REPORT_FIELDS \
        "pv_name,vg_name,vg_uuid,vg_tags,vg_free,vg_extent_size,vg_missing_pv_count,lv_name,lv_size,lv_tags"

/* One physical volume with one logical volume on it, or none. Strings point into the report. */
typedef struct LvmRow {
        const char *pv, *vg, *vg_uuid, *lv; /* empty where there is none */
        uint64_t vg_free, vg_extent, vg_missing, lv_size;
        sd_json_variant *vg_tags, *lv_tags; /* borrowed */
} LvmRow;

typedef struct LvmReport {
        sd_json_variant *json;
        LvmRow *rows;
        size_t n_rows;
} LvmReport;

void lvm_report_done(LvmReport *report);
int lvm_report_parse(const char *text, LvmReport *ret); /* -EBADMSG, -ENOMEM */

/* The pools, also those of which a part is missing: its name is empty. */
int lvm_report_pools(const LvmReport *report, LvmPool **ret, size_t *ret_count);
bool lvm_pool_is_complete(const LvmPool *pool);
