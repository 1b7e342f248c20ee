#pragma once

/* What our udev rules need to know about a device: a file in /run/quarry/udev, read by IMPORT{file}. */

#include <quarry/base.h>

#include <sys/types.h>

#include <systemd/sd-id128.h>

#define UDEV_ROOT "/run/quarry/udev"

/* Written before the device is opened, so that the link /dev/quarry/TENANT/NAME comes with it. encrypted:
 * the link belongs to the crypt device. */
int udev_describe(sd_id128_t volume, const char *tenant, const char *name, bool encrypted);
int udev_forget(sd_id128_t volume); /* a missing one is fine */

/* Waits until the link points to this device, at most so many milliseconds. -ETIMEDOUT. */
int udev_wait_link(const char *link, dev_t device, unsigned timeout_ms);
