#pragma once

/* What our udev rules need to know about a device: a file in /run/quarry/udev, read by IMPORT{file}. */

#include <quarry/base.h>

#include <sys/types.h>

#include <systemd/sd-id128.h>

#define UDEV_ROOT "/run/quarry/udev"

/* Written before the device is opened, so that the link /dev/quarry/TENANT/NAME comes with it. encrypted:
 * the link belongs to the crypt device. */
int udev_describe(sd_id128_t volume, const char *tenant, const char *name, bool encrypted);
/* When the device is gone; its link goes with it. A missing one is fine. */
int udev_forget(sd_id128_t volume);

/* Waits until the link points to this device, at most so many milliseconds. -ETIMEDOUT. Of a device that was opened
 * just now, since (from udev_now()) is when, at the earliest: numbers are used again, and what udev knows of this one
 * may still be of the device before, which it is about to take away together with the link. 0 of any other. */
int udev_wait_link(const char *link, dev_t device, uint64_t since, unsigned timeout_ms);
uint64_t udev_now(void); /* CLOCK_MONOTONIC, microseconds: as udev notes it */
