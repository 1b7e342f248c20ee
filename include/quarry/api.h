#pragma once

/* The public interfaces, declared once with their comments; docs/<interface>.varlink is generated. */

#include <systemd/sd-varlink-idl.h>

#define API_SOCKET "/run/quarry/io.quarry"
#define API_VOLUME "io.quarry.Volume"
#define API_POOL "io.quarry.Pool"
#define API_TENANT "io.quarry.Tenant"
#define API_KEY "io.quarry.Key"
#define API_DOCTOR "io.quarry.Doctor"
#define API_EVENT "io.quarry.Event"
#define API_DRIVER "io.quarry.Driver"
#define API_STREAM "io.quarry.Stream"

/* systemd's, of which we are one provider. */
#define API_STORAGE_PROVIDER "io.systemd.StorageProvider"
#define API_STORAGE_PROVIDER_SOCKET "/run/systemd/io.systemd.StorageProvider/quarry"

extern const sd_varlink_interface vl_interface_io_quarry_Volume;
extern const sd_varlink_interface vl_interface_io_quarry_Pool;
extern const sd_varlink_interface vl_interface_io_quarry_Tenant;
extern const sd_varlink_interface vl_interface_io_quarry_Key;
extern const sd_varlink_interface vl_interface_io_quarry_Doctor;
extern const sd_varlink_interface vl_interface_io_quarry_Event;
extern const sd_varlink_interface vl_interface_io_quarry_Driver;
extern const sd_varlink_interface vl_interface_io_quarry_Stream;
extern const sd_varlink_interface vl_interface_io_systemd_StorageProvider;
